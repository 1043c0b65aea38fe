/** What an operator can mend; told in one line, without a stack. */
export class Refused extends Error {
  override readonly name = "Refused";
}
