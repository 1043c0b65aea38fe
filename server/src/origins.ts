/**
 * Which pages may open a WebSocket. Browsers send Origin and let no page forge it; what sends none is no browser and
 * has no cookies to abuse. By default only pages of this very host, as the Host header names it.
 */
export function createOriginCheck(settings: {
  publicUrl: string | undefined;
  allowed: readonly string[];
}): (origin: string | undefined, host: string | undefined) => boolean {
  const named = new Set(
    [settings.publicUrl, ...settings.allowed].filter((url) => url !== undefined).map(originOf),
  );
  return (origin, host) => {
    if (origin === undefined) return true;
    const url = URL.parse(origin);
    if (url === null) return false;
    return named.has(url.origin) || (host !== undefined && url.host === host.toLowerCase());
  };
}

const originOf = (url: string) => new URL(url).origin;
