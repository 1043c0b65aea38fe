import type { TestContext } from "node:test";
import { Problem, TokenPair } from "@scriptorium/shared";
import { composeForTest, type TestApp, type TestOptions } from "@scriptorium/server/testing";

/** The application through inject(), without a socket. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into whatever came back
  readonly body: any;
  readonly text: string;
}

export interface Ask {
  readonly token?: string | undefined;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Injected extends TestApp {
  /** `call("GET /users/me", { token })`; paths are below /api/v1 unless they begin with `//`. */
  call(what: string, ask?: Ask): Promise<Answer>;
  register(username?: string, password?: string): Promise<TokenPair>;
}

export const PASSWORD = "correct horse battery staple";
let names = 0;

export async function injected(t: TestContext, options: TestOptions = {}): Promise<Injected> {
  const app = await composeForTest(options);
  t.after(() => app.stop());
  const call = async (what: string, { token, body, headers }: Ask = {}): Promise<Answer> => {
    const [method = "GET", path = "/"] = what.split(" ");
    const response = await app.app.inject({
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the fuzz test sends any method
      method: method as "GET",
      url: path.startsWith("//") ? path.slice(1) : `/api/v1${path}`,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { payload: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const isJson = response.body !== "" && String(response.headers["content-type"]).includes("json");
    return {
      status: response.statusCode,
      headers: response.headers,
      text: response.body,
      body: isJson ? JSON.parse(response.body) : response.body,
    };
  };
  return {
    ...app,
    call,
    register: async (username = `person-${(names += 1)}`, password = PASSWORD) => {
      const answer = await call("POST /auth/register", { body: { username, password } });
      if (answer.status !== 201) throw new Error(`register was answered ${answer.text}`);
      return TokenPair.parse(answer.body);
    },
  };
}

/** The problem's code; throws when the answer is not a problem document with the status it says. */
export function codeOf(answer: Answer): string {
  if (!String(answer.headers["content-type"]).startsWith("application/problem+json")) {
    throw new Error(`not a problem document: ${answer.status} ${answer.text.slice(0, 200)}`);
  }
  const problem = Problem.parse(answer.body);
  if (problem.status !== answer.status) throw new Error(`${answer.status} is told as ${problem.status}`);
  return problem.code;
}
