import { render } from "preact";
import { LIMITS, shouldReconnect, formatDocumentName } from "@scriptorium/shared";
render(<p>{LIMITS.fieldChars}{String(shouldReconnect(3))}{formatDocumentName({kind:"notes",id:"x"})}</p>, document.getElementById("app") as HTMLElement);
