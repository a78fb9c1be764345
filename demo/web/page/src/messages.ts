/** What the page and its worker say to each other. */

/** A line of the server's models.json. */
export interface Model {
  name: string;
  title: string;
  /** Whether its network is made for small devices. */
  quick: boolean;
  url: string;
  precision: string;
  /** Size of the frames it takes, in pixels; null for any. */
  width: number | null;
  height: number | null;
}

export type Engine = "auto" | "webgpu" | "wasm";

/** See `look.ts`. */
export interface Look {
  /** 0: the source, 1: the painting. */
  strength: number;
  keepColors: boolean;
  /** The network sees the frame at 1 / stroke of its size. */
  stroke: number;
}

/** How much pixels changed since the frame before, of 255, over those where the source is nearly still. */
export interface Steadiness {
  /** Mean absolute change of the stylized picture there. */
  stylized: number;
  /** Mean absolute change of the source there. */
  source: number;
  /** Share of the picture that is nearly still. */
  still: number;
}

/** The last frame and what was made of it, and the frame before it: RGB. */
export interface Pair {
  width: number;
  height: number;
  source: Uint8Array;
  stylized: Uint8Array;
  /** null for the first frame of its size or style. */
  before: { source: Uint8Array; stylized: Uint8Array } | null;
  steadiness: Steadiness | null;
}

export type ToWorker =
  | { kind: "load"; model: Model; engine: Engine }
  | { kind: "frame"; bitmap: ImageBitmap; width: number; height: number; takenAt: number; look: Look }
  | { kind: "pair" };

export type FromWorker =
  | { kind: "loaded"; name: string; engine: string; note: string }
  | { kind: "failed"; sentence: string; during: ToWorker["kind"] }
  | {
      kind: "stylized";
      /** RGBA, width x height. */
      pixels: Uint8ClampedArray<ArrayBuffer>;
      width: number;
      height: number;
      takenAt: number;
      networkMs: number;
      /** null for the first frame of its size or style. */
      steadiness: Steadiness | null;
    }
  | ({ kind: "pair" } & Pair);
