import {
  HocuspocusProvider,
  type CompleteHocuspocusProviderWebsocketConfiguration,
  type ConstructableOutgoingMessage,
  type HocuspocusProviderConfiguration,
  type onMessageParameters,
} from "@hocuspocus/provider";
import type { MESSAGE as Message, SYNC as Sync } from "@scriptorium/shared";
import * as Y from "yjs";
import type { LedgerEvent } from "./ack-ledger.ts";

/** Of shared/protocol/collab.ts; by literal type, so that zod stays out of the bundle (see limits.ts). */
const SYNC_TYPE: (typeof Message)["sync"] = 0;
const SYNC_STATUS_TYPE: (typeof Message)["syncStatus"] = 8;
const STEP1: (typeof Sync)["step1"] = 0;

/** A pinyin composition that takes longer than this is sent as it stands, so that no edit waits for ever. */
const HOLD_MS = 5_000;

interface AwarenessChange {
  readonly added: number[];
  readonly updated: number[];
  readonly removed: number[];
}

/** Options of the socket that the provider opens for itself; its type leaves them out, its constructor takes them. */
type SocketOptions = Partial<
  Pick<
    CompleteHocuspocusProviderWebsocketConfiguration,
    "autoConnect" | "delay" | "minDelay" | "factor" | "maxDelay"
  >
>;

export type DurableProviderConfiguration = HocuspocusProviderConfiguration &
  SocketOptions & {
    readonly onLedger: (event: LedgerEvent) => void;
    /** Whether an update is an edit of this person in this tab, to be counted until it is committed. */
    readonly isOwnEdit: (origin: unknown) => boolean;
  };

/**
 * The Hocuspocus provider with exact accounts of what is committed.
 *
 * It reports every message that the server will answer with a SyncStatus, and every answer. Updates are sent only after
 * the handshake of the open connection has begun: what was typed before reaches the server as the diff between the two
 * state vectors, not once more from the socket's queue, whose acks nobody could tell from those of newer edits.
 */
export class DurableProvider extends HocuspocusProvider {
  // Declared without initialisers: the base constructor may already call into the overrides below.
  declare private onLedger: (event: LedgerEvent) => void;
  declare private isOwnEdit: (origin: unknown) => boolean;
  declare private shaking: boolean;
  /** This client's state vector is on its way: the next one of the server goes with it. */
  declare private asked: boolean;
  declare private held: Uint8Array[] | undefined;
  declare private holdTimer: ReturnType<typeof setTimeout> | undefined;

  static open(configuration: DurableProviderConfiguration): DurableProvider {
    return new DurableProvider(configuration);
  }

  private constructor(configuration: DurableProviderConfiguration) {
    const { onLedger, isOwnEdit, ...rest } = configuration;
    super(rest);
    this.onLedger = onLedger;
    this.isOwnEdit = isOwnEdit;
    this.shaking = false;
    this.asked = false;
    this.on("message", (event: onMessageParameters) => this.account(event));
    // A socket that fell silent is given up without a "close" event; closing twice does no harm.
    this.on("disconnect", () => this.onClose());
  }

  /** Keeps updates back while letters are being composed, so that others do not see pinyin come and go. */
  hold(): void {
    if (this.held !== undefined) return;
    this.held = [];
    this.holdTimer = setTimeout(() => this.release(), HOLD_MS);
  }

  /** Sends what was kept back, as one message. Safe to call at any time. */
  release(): void {
    clearTimeout(this.holdTimer);
    const { held } = this;
    this.held = undefined;
    if (held === undefined) return;
    if (held.length > 0 && this.shaking) this.sendUpdate(Y.mergeUpdates(held), held.length);
    if (this.awareness?.getLocalState() != null) this.sendOwnAwareness();
  }

  private sendOwnAwareness(): void {
    super.awarenessUpdateHandler({ added: [], updated: [this.document.clientID], removed: [] }, undefined);
  }

  private sendUpdate(update: Uint8Array, edits: number): void {
    this.onLedger({ type: "update", edits });
    super.documentUpdateHandler(update, undefined);
  }

  /** Called before the message is applied. The provider answers the server's state vector at once with a diff. */
  private account({ message }: onMessageParameters): void {
    message.readVarString();
    // Numbers: the provider types them by an enum of its own.
    const type: number = message.readVarUint();
    if (type === SYNC_STATUS_TYPE) this.onLedger({ type: "answer", committed: readNumber(message) === 1 });
    if (type !== SYNC_TYPE || readNumber(message) !== STEP1) return;
    this.onLedger({ type: this.asked ? "diff" : "resume" });
    this.asked = false;
  }

  override documentUpdateHandler(update: Uint8Array, origin: unknown): void {
    if (origin === this) return;
    const edits = this.isOwnEdit(origin) ? 1 : 0;
    if (edits > 0) this.onLedger({ type: "edit" });
    if (!this.shaking) return;
    if (this.held === undefined || edits === 0) this.sendUpdate(update, edits);
    else this.held.push(update);
  }

  override awarenessUpdateHandler(change: AwarenessChange, origin: unknown): void {
    const others = [...change.added, ...change.updated, ...change.removed].some(
      (client) => client !== this.document.clientID,
    );
    if (this.held !== undefined && !others && this.awareness?.getLocalState() != null) return;
    super.awarenessUpdateHandler(change, origin);
  }

  override startSync(): void {
    this.shaking = true;
    this.asked = true;
    // Others have dropped this person at the cut but remember the state's clock: only a newer one brings them back.
    this.awareness?.setLocalState(this.awareness.getLocalState());
    super.startSync();
  }

  /** Nothing is queued for a later connection: its handshake brings what is missing, and presence anew. */
  override send(message: ConstructableOutgoingMessage, args: unknown): void {
    const socket = this.configuration.websocketProvider.webSocket;
    if (socket?.readyState === WebSocket.OPEN) super.send(message, args);
  }

  override onClose(): void {
    this.shaking = false;
    if (this.held !== undefined) this.held = [];
    this.onLedger({ type: "closed" });
    super.onClose();
  }

  override pageHide(): void {
    this.release();
    super.pageHide();
  }

  override destroy(): void {
    this.release();
    super.destroy();
  }
}

function readNumber(message: onMessageParameters["message"]): number {
  return message.readVarUint();
}
