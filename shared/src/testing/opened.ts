/** What a contract suite is given: a fresh implementation of the port, and how to be rid of it. */
export interface Opened<T> {
  readonly subject: T;
  close(): Promise<void>;
}
