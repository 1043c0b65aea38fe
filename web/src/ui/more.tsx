import type { Page } from "@scriptorium/shared";
import { useAction } from "../api/resource.ts";
import { messages } from "../i18n/messages.ts";
import { FailureText } from "./states.tsx";

interface MoreProps<Item> {
  readonly page: Page<Item>;
  readonly load: (cursor: string) => Promise<Page<Item>>;
  /** Called with the items so far and the new ones as one page. */
  readonly onPage: (page: Page<Item>) => void;
}

/** Continues a list that has another page. */
export function More<Item>({ page, load, onPage }: MoreProps<Item>) {
  const { busy, failure, run } = useAction();
  const cursor = page.nextCursor;
  if (cursor === null) return null;
  const more = () =>
    run(async () => {
      const next = await load(cursor);
      onPage({ items: [...page.items, ...next.items], nextCursor: next.nextCursor });
    });
  return (
    <div class="more">
      <button type="button" class="button" disabled={busy} onClick={() => void more()}>
        {messages.value.common.more}
      </button>
      <FailureText failure={failure.value} />
    </div>
  );
}
