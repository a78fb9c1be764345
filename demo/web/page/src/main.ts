/** The page: a camera or a video in, the stylized picture out, a style picker, a recorder, and figures. */

import "./style.css";
import type { Engine, FromWorker, Look, Model, Steadiness, ToWorker } from "./messages";
import { Figures } from "./figures";
import { download, Recorder } from "./recorder";

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const canvas = element<HTMLCanvasElement>("canvas");
const context = canvas.getContext("2d")!;
const video = element<HTMLVideoElement>("video");
const cameraButton = element<HTMLButtonElement>("camera");
const pauseButton = element<HTMLButtonElement>("pause");
const recordButton = element<HTMLButtonElement>("record");
const pictureButton = element<HTMLButtonElement>("picture");
const fileInput = element<HTMLInputElement>("file");
const sizeSelect = element<HTMLSelectElement>("size");
const facingSelect = element<HTMLSelectElement>("facing");
const strengthSlider = element<HTMLInputElement>("strength");
const strokeSlider = element<HTMLInputElement>("stroke");
const colorsBox = element<HTMLInputElement>("keep-colors");
const insetBox = element<HTMLInputElement>("inset");

const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
const figures = new Figures();
const wantedEngine = (new URLSearchParams(location.search).get("engine") ?? "auto") as Engine;

let models: Model[] = [];
let chosen: Model | undefined;
let ready = false; // a style is loaded
let busy = false; // a frame is with the worker: the next one waits for nothing but the newest picture
let fresh = false; // the video shows a picture that was not taken yet
let paused = false;
let sizeWasChosen = false;
let stream: MediaStream | undefined;
let pairWanted: ((pair: Extract<FromWorker, { kind: "pair" }>) => void)[] = [];

const recorder = new Recorder(canvas, (message, link) => say(message, link));

function say(sentence: string, link?: HTMLAnchorElement): void {
  const status = element("status");
  status.textContent = sentence;
  if (link) status.append(" ", link);
}

function complain(sentence: string): void {
  element("error").textContent = sentence;
}

function send(message: ToWorker, transfer: Transferable[] = []): void {
  worker.postMessage(message, transfer);
}

// ------------------------------------------------------------------------------------------------ frames

/** Width and height for the network: the shape of the source, its shorter side as chosen; or the artifact's own size. */
function networkSize(): [number, number] {
  if (chosen?.width && chosen.height) return [chosen.width, chosen.height];
  const short = Number(sizeSelect.value);
  const ratio = Math.min(3, Math.max(1 / 3, video.videoWidth / video.videoHeight));
  const long = 2 * Math.round((short * Math.max(ratio, 1 / ratio)) / 2);
  return ratio >= 1 ? [long, short] : [short, long];
}

function look(): Look {
  return {
    strength: Number(strengthSlider.value),
    keepColors: colorsBox.checked,
    stroke: chosen?.width ? 1 : Number(strokeSlider.value), // an artifact of one size has one stroke
  };
}

async function takeFrame(): Promise<void> {
  if (!fresh || busy || paused || !ready || video.readyState < 2 || !video.videoWidth) return;
  fresh = false;
  busy = true;
  const takenAt = performance.now();
  try {
    const bitmap = await createImageBitmap(video);
    const [width, height] = networkSize();
    send({ kind: "frame", bitmap, width, height, takenAt, look: look() }, [bitmap]);
  } catch {
    busy = false; // the source changed under our hands: the next picture comes
  }
}

function watchVideo(): void {
  const onPicture = () => {
    fresh = true;
    void takeFrame();
    watchVideo();
  };
  if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(onPicture);
  else requestAnimationFrame(onPicture);
}

function show(message: Extract<FromWorker, { kind: "stylized" }>): void {
  if (canvas.width !== message.width || canvas.height !== message.height) {
    recorder.stop(); // a video has one size
    canvas.width = message.width;
    canvas.height = message.height;
  }
  context.putImageData(new ImageData(message.pixels, message.width, message.height), 0, 0);
  figures.add(performance.now(), performance.now() - message.takenAt, message.networkMs, message.steadiness);
}

// --------------------------------------------------------------------------------------------------- sources

async function startCamera(): Promise<void> {
  complain("");
  if (!navigator.mediaDevices?.getUserMedia) {
    const why = isSecureContext
      ? "This browser gives pages no camera: choose a video file."
      : "Browsers give the camera to secure pages only: open the https address that the terminal shows.";
    return complain(why);
  }
  stopSource();
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: facingSelect.value, width: { ideal: 1280 }, height: { ideal: 720 } },
    });
  } catch (error) {
    return complain(whyNoCamera(error instanceof Error ? error.name : ""));
  }
  video.srcObject = stream;
  stream.getVideoTracks()[0]?.addEventListener("ended", () => complain("The camera went away: press Camera to start it again."));
  document.body.classList.toggle("mirrored", facingSelect.value === "user");
  await play("camera");
}

function whyNoCamera(name: string): string {
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The camera was refused: allow it for this page in the browser's settings and press Camera again, or choose a video file.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "There is no camera here: choose a video file.";
    case "NotReadableError":
    case "AbortError":
      return "The camera is used by another program: end that and press Camera again, or choose a video file.";
    default:
      return `The camera did not start (${name}): choose a video file.`;
  }
}

async function startFile(): Promise<void> {
  const file = fileInput.files?.[0];
  if (!file) return;
  complain("");
  stopSource();
  document.body.classList.remove("mirrored");
  video.src = URL.createObjectURL(file);
  await play(file.name);
  fileInput.value = ""; // so that the same file can be chosen again
}

async function play(name: string): Promise<void> {
  try {
    await video.play();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return; // another source was chosen meanwhile
    stopSource();
    return complain(`This browser cannot play ${name}: choose an MP4 (H.264) or WebM video.`);
  }
  element("welcome").hidden = true;
  setPaused(false);
  for (const button of [pauseButton, recordButton, pictureButton]) button.disabled = false;
  figures.clear();
  fresh = true;
  void takeFrame();
}

function stopSource(): void {
  recorder.stop();
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = undefined;
  video.srcObject = null;
  if (video.src) URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
}

function setPaused(value: boolean): void {
  paused = value;
  pauseButton.setAttribute("aria-pressed", String(value));
  pauseButton.textContent = value ? "Go on" : "Pause";
  if (!stream && video.src) void (value ? video.pause() : video.play().catch(() => undefined));
  if (!value) {
    figures.clear();
    void takeFrame();
  }
}

// ---------------------------------------------------------------------------------------------------- styles

function offerStyles(): void {
  for (const model of models) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "radio";
    input.name = "style";
    input.value = model.name;
    input.checked = model === chosen;
    input.addEventListener("change", () => choose(model));
    label.title = model.title;
    const size = model.width ? `, ${model.width} × ${model.height}` : "";
    const small = document.createElement("small");
    small.textContent = model.quick ? size.slice(2) : `slow${size}`;
    label.append(input, model.name.replaceAll("-", " "), ...(small.textContent ? [small] : []));
    element("styles").append(label);
  }
}

function choose(model: Model): void {
  chosen = model;
  ready = false;
  complain("");
  say(`Loading ${model.name}…`);
  sizeSelect.disabled = strokeSlider.disabled = model.width !== null;
  send({ kind: "load", model, engine: wantedEngine });
}

function onLoaded(message: Extract<FromWorker, { kind: "loaded" }>): void {
  if (message.name !== chosen?.name) return; // another was chosen since
  ready = true;
  say(`${chosen.name} on ${message.engine}. ${message.note}`.trim());
  element("engine").textContent = `The network runs on: ${message.engine}. ${message.note}`;
  if (!sizeWasChosen && message.engine === "WebGPU") sizeSelect.value = "360";
  figures.clear();
  fresh = true;
  void takeFrame();
}

worker.addEventListener("message", (event: MessageEvent<FromWorker>) => {
  const message = event.data;
  if (message.kind === "loaded") onLoaded(message);
  else if (message.kind === "pair") for (const resolve of pairWanted.splice(0)) resolve(message);
  else {
    if (message.kind === "failed") {
      complain(message.sentence);
      say("");
    } else show(message);
    if (message.kind === "stylized" || message.during === "frame") busy = false;
    void takeFrame();
  }
});
worker.addEventListener("error", () => complain("The page's worker did not start: load the page again, or use a newer browser."));

// ----------------------------------------------------------------------------------------------------- controls

cameraButton.addEventListener("click", () => void startCamera());
facingSelect.addEventListener("change", () => {
  if (stream) void startCamera();
});
fileInput.addEventListener("change", () => void startFile());
pauseButton.addEventListener("click", () => setPaused(!paused));
sizeSelect.addEventListener("change", () => {
  sizeWasChosen = true;
  figures.clear();
});
for (const slider of [strengthSlider, strokeSlider]) {
  slider.addEventListener("input", () => (element(`${slider.id}-value`).textContent = slider.value));
}
insetBox.addEventListener("change", () => document.body.classList.toggle("beside", insetBox.checked));
recordButton.addEventListener("click", () => {
  if (recorder.active) recorder.stop();
  else if (recorder.start(`steadystyle-${chosen?.name ?? "video"}`)) recordButton.setAttribute("aria-pressed", "true");
  recordButton.textContent = recorder.active ? "Stop and save" : "Record";
});
recorder.onStop = () => {
  recordButton.setAttribute("aria-pressed", "false");
  recordButton.textContent = "Record";
};
pictureButton.addEventListener("click", () => {
  canvas.toBlob((blob) => {
    if (blob) say("Saved:", download(blob, `steadystyle-${chosen?.name ?? "picture"}.png`));
  }, "image/png");
});

// ------------------------------------------------------------------------------------------------------- figures

function text(value: number | null, unit = "", digits = 0): string {
  return value === null ? "–" : value.toFixed(digits) + unit;
}

function steadinessText(mean: Steadiness | null): string {
  if (!mean) return "–";
  if (mean.still < 0.01) return "everything moves";
  const share = Math.round(100 * mean.still);
  return `${mean.stylized.toFixed(1)} of 255 (source ${mean.source.toFixed(1)}) on ${share} %`;
}

setInterval(() => {
  if (paused) return; // the figures of what is seen stay
  const now = figures.now(performance.now());
  element("fps").textContent = text(now.fps, "", 1);
  element("latency").textContent = text(now.latencyP90, " ms");
  element("network").textContent = text(now.networkMedian, " ms");
  element("steadiness").textContent = steadinessText(now.steadiness);
  element<HTMLMeterElement>("meter").value = now.steadiness?.stylized ?? 0;
}, 500);

// --------------------------------------------------------------------------------------------------------- start

/** Keep page, engine and models for when there is no network; pages whose certificate is not trusted may not. */
async function keepOffline(): Promise<void> {
  if (!("serviceWorker" in navigator) || !isSecureContext) return;
  try {
    await navigator.serviceWorker.register("./service-worker.js");
    await navigator.serviceWorker.ready;
  } catch {
    return; // it works all the same, as long as the server does
  }
  if (!navigator.serviceWorker.controller) {
    await new Promise((resolve) => {
      navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
      setTimeout(resolve, 3000);
    });
  }
}

async function start(): Promise<void> {
  // The token came with the address and is a cookie now: it need not stay in sight.
  if (location.search.includes("token=")) history.replaceState(null, "", location.pathname);
  watchVideo();
  await keepOffline(); // before the engine is fetched, so that it is kept
  try {
    const response = await fetch("./models.json");
    if (!response.ok) throw new Error(await response.text());
    models = (await response.json()) as Model[];
  } catch {
    say("");
    return complain("The styles could not be listed: check that `steadystyle demo web` still runs, and load the page again.");
  }
  for (const model of models) model.url = new URL(model.url, location.href).href;
  const first = models[0];
  if (!first) return complain("There is no style here: install steadystyle again, or start it with --model FILE.onnx.");
  choose(first);
  offerStyles();
}

function base64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}

/** A copy in which all bytes are base64. */
function withBase64(value: object): object {
  const textOf = (one: unknown) =>
    one instanceof Uint8Array ? base64(one) : one instanceof Object ? withBase64(one) : one;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, textOf(one)]));
}

// For tests and the curious: the figures; the last frame that went in and what came out, and those before (RGB, base64);
// and `keep`, which fetches all styles, for offline use.
Object.assign(window, {
  steadystyle: {
    figures: () => ({ ...figures.now(performance.now()), ready, busy, paused, style: chosen?.name }),
    pair: () =>
      new Promise((resolve) => {
        pairWanted.push((pair) => resolve(withBase64(pair)));
        send({ kind: "pair" });
      }),
    keep: () => Promise.all(models.map((model) => fetch(model.url))),
  },
});

void start();
