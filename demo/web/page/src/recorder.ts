/** Records a canvas and hands the video to the browser's downloads. */

const TYPES = ["video/mp4;codecs=avc1.42E01F", "video/mp4", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const RATE = 30;
const BITS_PER_SECOND = 6_000_000;
/** It is kept in memory until it is saved. */
const LONGEST_MS = 5 * 60 * 1000;

/** Save under this name; the link does it again where a browser did not. */
export function download(blob: Blob, name: string): HTMLAnchorElement {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.textContent = name;
  link.click();
  return link;
}

export class Recorder {
  onStop: () => void = () => undefined;
  private recorder: MediaRecorder | undefined;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly say: (sentence: string, link?: HTMLAnchorElement) => void,
  ) {}

  get active(): boolean {
    return this.recorder?.state === "recording";
  }

  /** False where this browser cannot. */
  start(name: string): boolean {
    const type = typeof MediaRecorder === "undefined" ? undefined : TYPES.find((one) => MediaRecorder.isTypeSupported(one));
    if (!type) {
      this.say("This browser cannot record: use its screen recording, or save pictures.");
      return false;
    }
    const stream = this.canvas.captureStream(RATE);
    const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: BITS_PER_SECOND });
    const parts: Blob[] = [];
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
      for (const track of stream.getTracks()) track.stop();
      const ending = type.startsWith("video/mp4") ? "mp4" : "webm";
      const link = download(new Blob(parts, { type: type.split(";")[0]! }), `${name}.${ending}`);
      this.say("Saved:", link);
      this.onStop();
    });
    recorder.addEventListener("error", () => this.say("The recording broke off: try a smaller size."));
    recorder.start(1000);
    setTimeout(() => recorder.state === "recording" && recorder.stop(), LONGEST_MS);
    this.recorder = recorder;
    this.say("Recording.");
    return true;
  }

  stop(): void {
    if (this.active) this.recorder!.stop();
  }
}
