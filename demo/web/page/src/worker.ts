/** Everything that takes time, so that the page stays quick: pixels of a frame, the network, the steadiness. */

import { firstLine, openNetwork, Sentence, type Network } from "./engine";
import { looked, networkSize } from "./look";
import type { Engine, FromWorker, Look, Model, Pair, ToWorker } from "./messages";
import { steadiness } from "./steadiness";

const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", { willReadFrequently: true })!;
context.imageSmoothingQuality = "high";
let network: Network | undefined;
let last: Pair | undefined;

function send(message: FromWorker, transfer: Transferable[] = []): void {
  postMessage(message, { transfer });
}

/** The pixels of a picture at this size, RGB; what does not fit its shape is cut off at both sides. */
function pixelsOf(picture: ImageBitmap | OffscreenCanvas, width: number, height: number): Uint8Array {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
    context.imageSmoothingQuality = "high";
  }
  const scale = Math.max(width / picture.width, height / picture.height);
  const [w, h] = [width / scale, height / scale];
  context.drawImage(picture, (picture.width - w) / 2, (picture.height - h) / 2, w, h, 0, 0, width, height);
  const rgba = context.getImageData(0, 0, width, height).data;
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = rgba[from]!;
    rgb[to + 1] = rgba[from + 1]!;
    rgb[to + 2] = rgba[from + 2]!;
  }
  return rgb;
}

/** RGB at another size, by the browser's own filter. */
function resized(rgb: Uint8Array, width: number, height: number, toWidth: number, toHeight: number): Uint8Array {
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d")!.putImageData(new ImageData(withAlpha(rgb), width, height), 0, 0);
  return pixelsOf(small, toWidth, toHeight);
}

function withAlpha(rgb: Uint8Array): Uint8ClampedArray<ArrayBuffer> {
  const rgba = new Uint8ClampedArray((rgb.length / 3) * 4);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    rgba[to] = rgb[from]!;
    rgba[to + 1] = rgb[from + 1]!;
    rgba[to + 2] = rgb[from + 2]!;
    rgba[to + 3] = 255;
  }
  return rgba;
}

async function load(model: Model, engine: Engine): Promise<void> {
  await network?.close();
  network = last = undefined;
  let response: Response;
  try {
    response = await fetch(model.url);
  } catch {
    throw new Sentence(`The style ${model.title} could not be fetched: check that the server still runs.`);
  }
  if (!response.ok) throw new Sentence(`The style ${model.title} is missing: ${await response.text()}`);
  network = await openNetwork(await response.arrayBuffer(), [model.width ?? 64, model.height ?? 64], engine);
  send({ kind: "loaded", name: model.name, engine: network.engine, note: network.note });
}

async function stylize(
  bitmap: ImageBitmap,
  width: number,
  height: number,
  takenAt: number,
  look: Look,
): Promise<void> {
  if (!network) return bitmap.close();
  const source = pixelsOf(bitmap, width, height);
  const [w, h] = networkSize(width, height, look.stroke);
  const seen = look.stroke === 1 ? source : pixelsOf(bitmap, w, h);
  bitmap.close();
  const start = performance.now();
  const painting = await network.run(seen, w, h);
  const networkMs = performance.now() - start;
  const back = look.stroke === 1 ? painting : resized(painting, w, h, width, height);
  const stylized = looked(source, back, look);
  const before =
    last?.width === width && last.height === height ? { source: last.source, stylized: last.stylized } : null;
  const change = before ? steadiness(before.source, source, before.stylized, stylized) : null;
  last = { width, height, source, stylized, before, steadiness: change };
  const pixels = withAlpha(stylized);
  send({ kind: "stylized", pixels, width, height, takenAt, networkMs, steadiness: change }, [pixels.buffer]);
}

async function handle(message: ToWorker): Promise<void> {
  try {
    if (message.kind === "load") await load(message.model, message.engine);
    else if (message.kind === "frame")
      await stylize(message.bitmap, message.width, message.height, message.takenAt, message.look);
    else if (last) send({ kind: "pair", ...last });
  } catch (error) {
    const sentence =
      error instanceof Sentence
        ? error.message
        : `The style could not be run (${firstLine(error)}): choose another, or a smaller size.`;
    send({ kind: "failed", sentence, during: message.kind });
  }
}

// One message after another: a style is not changed under a frame that is being painted.
let turn = Promise.resolve();
addEventListener("message", (event: MessageEvent<ToWorker>) => {
  turn = turn.then(() => handle(event.data));
});
