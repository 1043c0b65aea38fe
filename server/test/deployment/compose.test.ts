import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createOriginCheck } from "../../src/origins.ts";
import { Environment, readConfig } from "../../src/config.ts";
import { parseRedisAddress } from "../../src/bus/address.ts";
import {
  composeText,
  interpolate,
  networks,
  readText,
  service,
  services,
  variablesOf,
  volumes,
} from "./compose-file.ts";

/** What no engine is needed for to see: an image build and a start of it are scripts/build-image.sh's and a person's. */

const SERVERS = ["api", "collab"];
const MEMBERS = Object.keys(services).filter((name) => /^mongo-\d+$/.test(name));
const SECRET = /PASSWORD|SECRET|TOKEN|KEY/;
/** Exact: three numbers at least, or the date that Debian's images are called after. */
const EXACT_TAG = /^(v?\d+\.\d+\.\d+(-[\w.]+)?|[a-z]+-\d{8}(-slim)?)$/;
const SET = {
  SITE_HOST: "papers.example.org",
  ACME_EMAIL: "ops@example.org",
  MONGO_KEY: "0f".repeat(32),
  MONGO_ROOT_PASSWORD: "1e".repeat(32),
  MONGO_PASSWORD: "2d".repeat(32),
  REDIS_PASSWORD: "3c".repeat(32),
};

const entries = Object.entries(services);
const variables = variablesOf(composeText);
const required = new Set(variables.filter((variable) => variable.required).map(({ name }) => name));
const optional = new Map(
  variables.flatMap(({ name, fallback }) => (fallback === undefined ? [] : [[name, fallback] as const])),
);

function configOf(name: string) {
  const environment = Object.entries(service(name).environment);
  return readConfig(
    Object.fromEntries(environment.map(([variable, value]) => [variable, interpolate(value, SET)])),
  );
}

function secondsOf(duration: string | undefined): number {
  const [, number] = /^(\d+)s$/.exec(duration ?? "") ?? [];
  return Number(number);
}

const versionOf = (text: string): unknown => Reflect.get(JSON.parse(text), "version");

describe("docker-compose.yml", () => {
  it("pins every image by an exact tag, its own by the version of package.json", () => {
    const tags = entries.map(
      ([name, { image }]) => [name, interpolate(image, {}).split(":")[1] ?? ""] as const,
    );
    assert.deepEqual(
      tags.filter(([, tag]) => !EXACT_TAG.test(tag)),
      [],
    );
    for (const name of SERVERS) {
      const own = `scriptorium:${String(versionOf(readText("package.json")))}`;
      assert.equal(interpolate(service(name).image, {}), own);
      assert.equal(service(name).build, ".");
    }
    assert.equal(new Set(tags.filter(([name]) => name.startsWith("mongo")).map(([, tag]) => tag)).size, 1);
  });

  it("has no password of its own: every secret is required from outside, and nothing else signs in", () => {
    assert.deepEqual(
      [...optional.keys()].filter((name) => SECRET.test(name)),
      [],
    );
    const unset = variables.filter(({ name }) => !required.has(name) && !optional.has(name));
    assert.deepEqual(unset, [], "a variable is either required or has a default");
    for (const [name, { environment }] of entries) {
      for (const [variable, value] of Object.entries(environment)) {
        // Also in addresses: scheme://user:password@host.
        const written = SECRET.test(variable) ? value : /:\/\/[^/]*:([^/]*)@/.exec(value)?.[1];
        if (written === undefined) continue;
        const [only, ...more] = variablesOf(written);
        assert.ok(more.length === 0 && only !== undefined && required.has(only.name), `${name} ${variable}`);
        assert.equal(interpolate(written, { [only.name]: "X" }), "X", `${name} ${variable}`);
      }
    }
  });

  it("reads what deploy/compose.env.example lists: required ones empty, the others with their defaults", () => {
    const listed = new Map<string, { off: boolean; value: string }>();
    for (const line of readText("deploy/compose.env.example").split("\n")) {
      const [, hash, name, value] = /^(# )?([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? [];
      if (name !== undefined) listed.set(name, { off: hash !== undefined, value: value ?? "" });
    }
    const expected = [
      ...Array.from(required, (name) => [name, { off: false, value: "" }] as const),
      ...Array.from(optional, ([name, value]) => [name, { off: true, value }] as const),
    ];
    const byName = (lines: Iterable<readonly [string, unknown]>) =>
      Object.fromEntries(Array.from(lines).toSorted(([a], [b]) => (a < b ? -1 : 1)));
    assert.deepEqual(byName(listed), byName(expected));
  });

  for (const name of SERVERS) {
    it(`${name}: is configured by settings that exist, and the server takes them`, () => {
      const known = new Set(Object.keys(Environment.shape));
      assert.deepEqual(
        Object.keys(service(name).environment).filter((variable) => !known.has(variable)),
        [],
      );
      const config = configOf(name);
      assert.deepEqual(config.ROLES, [name]);
      assert.ok(service(name).deploy.replicas >= 2);
      assert.deepEqual(
        config.TRUST_PROXY,
        networks["edge"]?.ipam?.config.map(({ subnet }) => interpolate(subnet, {})),
      );
      const allowed = createOriginCheck({ publicUrl: config.PUBLIC_URL, allowed: config.ALLOWED_ORIGINS });
      assert.ok(allowed(`https://${SET.SITE_HOST}`, "172.30.78.3:3200"));
      assert.equal(parseRedisAddress(config.REDIS_URL ?? "").shown, "redis:6379");
    });

    it(`${name}: has more time to stop than it takes to drain`, () => {
      const graceMs = secondsOf(service(name).stop_grace_period) * 1000;
      assert.ok(graceMs >= configOf(name).DRAIN_MS + 5_000, `${graceMs}`);
    });
  }

  it("names the same replica set and members to the servers, the members and the script that joins them", () => {
    const script = readText("deploy/mongo/init.js");
    const quoted = (pattern: RegExp) => pattern.exec(script)?.[1] ?? "";
    const named = quoted(/^const MEMBERS = \[(.*)\];$/m).match(/[\w-]+(?=:27017)/g);
    assert.deepEqual(named, MEMBERS);
    assert.ok(MEMBERS.length % 2 === 1, "an even set elects nobody when it is halved");
    const setName = quoted(/^const SET = "(\w+)";$/m);
    for (const name of SERVERS) {
      const url = new URL(service(name).environment["MONGODB_URL"]?.replace(/\$\{\w+[^}]*\}/g, "x") ?? "");
      assert.deepEqual(url.host.split(","), MEMBERS);
      assert.equal(url.searchParams.get("replicaSet"), setName);
    }
    for (const name of MEMBERS) {
      assert.match(service(name).entrypoint.join(" "), new RegExp(`--replSet ${setName} --keyFile `));
      assert.deepEqual(service(name).volumes, [`${name}:/data/db`]);
      assert.ok(name in volumes);
    }
    assert.equal(service("mongo-init").network_mode, `service:${MEMBERS[0]}`);
  });
});

describe("docker-compose.yml, every service", () => {
  for (const [name, each] of entries) {
    it(`${name}: cannot write its image, gain rights, or take more than its share`, () => {
      assert.equal(each.read_only, true);
      assert.deepEqual(each.cap_drop, ["ALL"]);
      assert.deepEqual(each.cap_add, name === "traefik" ? ["NET_BIND_SERVICE"] : []);
      assert.deepEqual(each.security_opt, ["no-new-privileges:true"]);
      assert.match(each.deploy.resources.limits.memory, /^\d+[MG]$/);
      assert.match(each.deploy.resources.limits.cpus, /^\d/);
    });

    it(`${name}: comes back by itself and says how it is`, () => {
      const once = name === "mongo-init";
      assert.equal(each.restart, once ? "no" : "unless-stopped");
      if (once) return assert.deepEqual(each.healthcheck, { disable: true });
      // The servers' is in the image.
      const checked = each.healthcheck !== undefined && "test" in each.healthcheck;
      assert.equal(checked || /^HEALTHCHECK /m.test(readText("Dockerfile")), true);
      assert.equal(checked, each.build === undefined);
    });

    it(`${name}: is reachable only from where it is needed`, () => {
      assert.deepEqual(each.ports, name === "traefik" ? ["80:80", "443:443"] : []);
      const onNetworks = { traefik: ["public", "edge", "control"], "docker-socket-proxy": ["control"] };
      const expected: string[] = SERVERS.includes(name)
        ? ["edge", "store"]
        : (Reflect.get(onNetworks, name) ?? (name === "mongo-init" ? [] : ["store"]));
      assert.deepEqual(each.networks, expected);
      const socket = each.volumes.filter((volume) => volume.includes("docker.sock"));
      assert.deepEqual(
        socket,
        name === "docker-socket-proxy" ? ["/var/run/docker.sock:/var/run/docker.sock:ro"] : [],
      );
    });
  }

  it("no network but traefik's leads outside", () => {
    const open = Object.entries(networks).filter(([, { internal }]) => !internal);
    assert.deepEqual(
      open.map(([name]) => name),
      ["public"],
    );
  });
});

describe("traefik", () => {
  const labelsOf = (name: string) => new Map(Object.entries(service(name).labels));
  const rule = (name: string) => labelsOf(name).get(`traefik.http.routers.${name}.rule`) ?? "";
  const isRule = (label: string) => label.endsWith(".rule");

  it("gives document sockets to collab and everything but metrics to api", () => {
    assert.equal(rule("collab"), "Host(`${SITE_HOST}`) && (Path(`/collab`) || PathPrefix(`/yjs/`))");
    assert.equal(rule("api"), "Host(`${SITE_HOST}`) && !Path(`/metrics`)");
    // The longer rule is asked first.
    assert.ok(rule("collab").length > rule("api").length);
    const routed = entries.filter(([, { labels }]) => Object.keys(labels).some(isRule)).map(([name]) => name);
    assert.deepEqual(routed.toSorted(), SERVERS);
  });

  it("asks each server whether it wants work, at the port of the image", () => {
    const port = /\bPORT=(\d+)/.exec(readText("Dockerfile"))?.[1];
    for (const name of SERVERS) {
      const balancer = `traefik.http.services.${name}.loadbalancer`;
      assert.equal(labelsOf(name).get(`${balancer}.server.port`), port);
      assert.equal(labelsOf(name).get(`${balancer}.healthcheck.path`), "/readyz");
      const drainMs = configOf(name).DRAIN_MS;
      assert.ok(secondsOf(labelsOf(name).get(`${balancer}.healthcheck.interval`)) * 1000 < drainMs);
    }
  });

  it("logs no address, keeps idle connections shorter than the server, and reads Docker through the proxy", () => {
    const options = new Map(
      service("traefik").command.map((option) => {
        const [name = "", value = ""] = option.split(/=(.*)/s);
        return [name, value] as const;
      }),
    );
    assert.deepEqual(
      [...options.keys()].filter((name) => /^--accesslog/i.test(name)),
      [],
    );
    const keepAliveMs = Number(
      /KEEP_ALIVE_MS = ([\d_]+)/.exec(readText("server/src/rest/server.ts"))?.[1]?.replaceAll("_", ""),
    );
    const idle = options.get("--serversTransport.forwardingTimeouts.idleConnTimeout");
    assert.ok(secondsOf(idle) * 1000 < keepAliveMs);
    assert.equal(options.get("--providers.docker.endpoint"), "tcp://docker-socket-proxy:2375");
    assert.equal(options.get("--providers.docker.exposedByDefault"), "false");
    assert.equal(options.get("--providers.docker.network"), networks["edge"]?.name);
  });
});
