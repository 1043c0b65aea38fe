import assert from "node:assert/strict";
import { test } from "node:test";
import { en } from "../src/i18n/en.ts";
import { passwordProblem, usernameProblem } from "../src/session/credentials.ts";
import { deviceName } from "../src/session/device-name.ts";
import { initials } from "../src/ui/initials.ts";

test("a user name may be of any script, with its vowels", () => {
  for (const name of ["ada", "李雷", "नमस्ते", "ไทยดี"])
    assert.equal(usernameProblem(name, en.auth), undefined, name);
  assert.equal(usernameProblem("a b", en.auth), en.auth.usernameChars);
});

test("initials are the first letters of the first and last word, or the first character", () => {
  const cases = {
    "Ada King Lovelace": "AL",
    ada: "A",
    李雷: "李",
    "li_lei-2": "L2",
    "👩‍🔬 lab": "👩‍🔬L",
    "": "",
  };
  for (const [name, expected] of Object.entries(cases)) assert.equal(initials(name), expected);
});

test("a user agent is told by browser and system, and left as it is when neither is known", () => {
  const edge =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0";
  const safari =
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1";
  const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
  assert.equal(deviceName(edge), "Edge · Windows");
  assert.equal(deviceName(safari), "Safari · iPhone");
  assert.equal(deviceName(firefox), "Firefox · Linux");
  assert.equal(deviceName("curl/8"), "curl/8");
});

test("credentials are judged as the server does", () => {
  assert.equal(usernameProblem("李雷", en.auth), undefined);
  assert.equal(usernameProblem(" ", en.auth), en.auth.usernameEmpty);
  assert.equal(usernameProblem("a", en.auth), en.auth.usernameShort(2));
  assert.equal(usernameProblem("a b", en.auth), en.auth.usernameChars);
  assert.equal(usernameProblem("a".repeat(33), en.auth), en.auth.usernameLong(32));
  assert.equal(passwordProblem("123456789", en.auth), en.auth.passwordShort(10));
  assert.equal(passwordProblem("1234567890", en.auth), undefined);
});
