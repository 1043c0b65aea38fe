import { render } from "preact";
import "@preact/signals";
import { App } from "./app.tsx";
import { applyPreferences } from "./preferences.ts";
import { startRouter } from "./router.ts";
import { startSession } from "./session/session.ts";
import "./styles/index.css";

const root = document.querySelector("#app");
if (root === null) throw new Error("index.html has no #app");
startSession();
startRouter();
applyPreferences();
render(<App />, root);
