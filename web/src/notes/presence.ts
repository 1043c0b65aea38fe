import type { Awareness } from "y-protocols/awareness";
import type { Person } from "../ui/avatar.tsx";

function isPerson(value: unknown): value is Person {
  return (
    typeof value === "object" &&
    value !== null &&
    ["id", "name", "color"].every((field) => typeof Reflect.get(value, field) === "string")
  );
}

/** The person behind an awareness state. The server puts it there, so it cannot be another's name. */
export function personOf(state: unknown): Person | undefined {
  const person: unknown =
    typeof state === "object" && state !== null && "user" in state ? state.user : undefined;
  return isPerson(person) ? person : undefined;
}

/** Everyone who has the document open, each once however many tabs they use; `own` first. */
export function peopleHere(awareness: Awareness, own: Person): Person[] {
  const people = new Map([[own.id, own]]);
  for (const state of awareness.getStates().values()) {
    const person = personOf(state);
    if (person !== undefined && !people.has(person.id)) people.set(person.id, person);
  }
  return [...people.values()];
}
