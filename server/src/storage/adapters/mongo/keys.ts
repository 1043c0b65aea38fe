/**
 * Every `_id` is a path of escaped names and padded numbers, so that it is the same for every retry, sorts by its
 * numbers, and whatever belongs to one name is one range of the one index that every server has.
 */

/** As many digits as the largest safe integer has. */
const DIGITS = 16;

/** A name as a piece of a path: without the separator, and not to be confused with its neighbour. */
export function pathOf(...names: readonly (string | number)[]): string {
  return names
    .map((name) => (typeof name === "number" ? String(name).padStart(DIGITS, "0") : encodeURIComponent(name)))
    .join("/");
}

/** The filter for everything below a path, itself excluded. "0" is the character after "/". */
export function below(path: string): { $gte: string; $lt: string } {
  return { $gte: `${path}/`, $lt: `${path}0` };
}

/** The names of a path; numbers come back as text. */
export function namesOf(path: string): string[] {
  return path.split("/").map(decodeURIComponent);
}

/** The number that a path ends with. */
export function lastNumber(path: string): number {
  return Number(path.slice(path.lastIndexOf("/") + 1));
}
