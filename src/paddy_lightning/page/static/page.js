// @ts-check
/**
 * Photos -> what the network says of each, in this browser: nothing is sent anywhere.
 *
 * @typedef {object} Model what model.json says
 * @property {string[]} shown names of the classes, in the order of the probabilities
 * @property {number | null} sure_from the probability from which an answer is given as sure
 * @property {[height: number, width: number]} presize
 * @property {string} resize
 * @property {string} pad_mode
 * @property {boolean} draft
 *
 * @typedef {object} Photo
 * @property {ImageBitmap} bitmap upright
 * @property {boolean} drafted whether Python would decode it smaller
 * @property {number} orientation EXIF's, by which it has been turned
 *
 * @typedef {object} Answer
 * @property {number[]} probabilities of every class
 * @property {{height: number, width: number, values: Float32Array} | null} looked from 0 to 1
 */
import * as ort from "./ort.wasm.bundle.min.mjs";
import { presize, resizeBox } from "./presize.js";

const MOST_PIXELS = 89_478_485; // as Pillow, and so as in training
const HEAD = 2 ** 18; // bytes in which a JPEG says what it is
const TILE = 8192; // pixels: some browsers have no wider canvas
const PREVIEW = 800; // pixels of its longer side
const BRANDS = /^....ftyp(heic|heix|hevc|heim|heis|mif1|msf1)/s;

class Refused extends Error {} // a photo, in words for its owner

/** @type {Model} */
let model;
const ready = load();

/**
 * Fetch the network, once all is kept here.
 *
 * @returns {Promise<ort.InferenceSession>}
 */
async function load() {
  const kept = await keepOffline();
  model = await (await fetch("model.json")).json();
  ort.env.wasm.numThreads = 1; // more would need headers that not every host can send
  ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };
  const session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  document.body.classList.toggle("maps", session.outputNames.includes("activation"));
  say(kept ? "Ready. It works without a network, too." : "Ready.");
  return session;
}

/**
 * Have the service worker fetch all files; what the page loads after that comes from it.
 *
 * @returns {Promise<boolean>} whether the page will open without a network
 */
async function keepOffline() {
  try {
    const { installing: worker, active } = await navigator.serviceWorker.register("sw.js");
    if (!worker || active) return true;
    await new Promise((resolve) => {
      worker.onstatechange = () => /activated|redundant/.test(worker.state) && resolve(null);
    });
    return worker.state === "activated";
  } catch {
    return false; // not over https, or not allowed: the page works all the same
  }
}

/**
 * What the network makes of a photo.
 *
 * @param {Photo} photo
 * @returns {Promise<Answer>}
 */
async function ask({ bitmap, ...facts }) {
  const session = await ready;
  const { height, width } = bitmap;
  const pixels = presize({ height, width, ...facts, rows: reader(bitmap) }, model);
  const pictures = new ort.Tensor("uint8", pixels, [1, ...model.presize, 3]);
  const { probabilities, activation } = await session.run({ pictures });
  const looked = activation && {
    height: activation.dims[1],
    width: activation.dims[2],
    values: /** @type {Float32Array} */ (activation.data),
  };
  return { probabilities: Array.from(probabilities.data, Number), looked: looked ?? null };
}

/**
 * @param {Blob} file
 * @returns {Promise<Answer>}
 * @throws {Refused}
 */
export async function predict(file) {
  await ready;
  const photo = await decode(file);
  try {
    return await ask(photo);
  } finally {
    photo.bitmap.close();
  }
}

/**
 * A photo upright, without any change of colours, as Pillow decodes it.
 *
 * @param {Blob} file
 * @returns {Promise<Photo>}
 * @throws {Refused}
 */
async function decode(file) {
  if (file.size === 0) throw new Refused("This file is empty.");
  const bytes = await file.slice(0, HEAD).arrayBuffer();
  const head = new TextDecoder("latin1").decode(bytes);
  if (head.startsWith("%PDF")) throw new Refused("This is a PDF, not a photo.");
  await checkSize(file, head);
  const several = head.includes("MPF\0") && !head.includes(' hdrgm:Version="'); // Python has it whole
  const drafted = head.startsWith("\xff\xd8\xff") && !several;
  const orientation = orientationOf(new DataView(bytes), head.indexOf("Exif\0\0") + 6);
  try {
    const bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
    return { bitmap, drafted, orientation };
  } catch {
    throw new Refused("This file is damaged, or too large for this device.");
  }
}

/**
 * @param {DataView} bytes
 * @param {number} start of EXIF, which is a TIFF file
 * @returns {number} from 1 to 8; 1, upright, where there is none
 */
function orientationOf(bytes, start) {
  try {
    const little = bytes.getUint16(start) === 0x4949;
    const entries = start + bytes.getUint32(start + 4, little);
    for (let entry = 0; entry < bytes.getUint16(entries, little); entry++) {
      const at = entries + 2 + 12 * entry;
      if (bytes.getUint16(at, little) === 0x0112) return bytes.getUint16(at + 8, little);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return 1;
}

/**
 * Refuse a photo by its size before it is decoded.
 *
 * @param {Blob} file
 * @param {string} head
 * @throws {Refused}
 */
async function checkSize(file, head) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
    });
  } catch {
    throw new Refused(
      BRANDS.test(head)
        ? "This is a HEIC photo, which this browser cannot read. Save it as JPEG; an iPhone takes" +
          " JPEG with Settings, Camera, Formats, Most Compatible."
        : "This file cannot be read as a photo here; it may be damaged, or no JPEG, PNG or WebP.",
    );
  } finally {
    URL.revokeObjectURL(image.src);
  }
  const pixels = image.naturalHeight * image.naturalWidth;
  if (pixels > MOST_PIXELS) {
    throw new Refused(`This photo has ${Math.round(pixels / 1e6)} megapixels; 89 is the most.`);
  }
}

/**
 * Rows of a photo, what is transparent laid on white.
 *
 * @param {ImageBitmap} bitmap
 * @returns {(top: number, count: number) => Uint8ClampedArray}
 */
function reader(bitmap) {
  const canvas = new OffscreenCanvas(1, 1);
  const pen = /** @type {OffscreenCanvasRenderingContext2D} */ (
    canvas.getContext("2d", { willReadFrequently: true })
  );
  return (top, count) => {
    const rows = new Uint8ClampedArray(count * bitmap.width * 4);
    for (let left = 0; left < bitmap.width; left += TILE) {
      const width = Math.min(TILE, bitmap.width - left);
      Object.assign(canvas, { width, height: count });
      pen.fillStyle = "white";
      pen.fillRect(0, 0, width, count);
      pen.drawImage(bitmap, left, top, width, count, 0, 0, width, count);
      const tile = pen.getImageData(0, 0, width, count).data;
      if (width === bitmap.width) return tile;
      for (let row = 0; row < count; row++) {
        const part = tile.subarray(row * width * 4, (row + 1) * width * 4);
        rows.set(part, (row * bitmap.width + left) * 4);
      }
    }
    return rows;
  };
}

/**
 * The photo, and over it what is dark where the network did not look.
 *
 * @param {HTMLElement} card
 * @param {ImageBitmap} bitmap
 * @param {Answer["looked"]} looked
 */
function draw(card, bitmap, looked) {
  const [photo, map] = card.querySelectorAll("canvas");
  const scale = Math.min(1, PREVIEW / Math.max(bitmap.height, bitmap.width));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  Object.assign(photo, { height, width });
  photo.getContext("2d")?.drawImage(bitmap, 0, 0, width, height);
  /** @type {HTMLElement} */ (photo.parentElement).hidden = false;
  if (!looked) return map.remove();
  const light = new ImageData(looked.width, looked.height);
  looked.values.forEach((value, at) => (light.data[at * 4 + 3] = 255 * value));
  const small = new OffscreenCanvas(looked.width, looked.height);
  small.getContext("2d")?.putImageData(light, 0, 0);
  Object.assign(map, { height: Math.ceil(height / 2), width: Math.ceil(width / 2) });
  const pen = /** @type {CanvasRenderingContext2D} */ (map.getContext("2d"));
  pen.fillStyle = "rgb(0 0 0 / 70%)";
  pen.fillRect(0, 0, map.width, map.height);
  pen.globalCompositeOperation = "destination-out";
  pen.imageSmoothingQuality = "high";
  const box = resizeBox([bitmap.height, bitmap.width], model.presize, model.resize);
  const half = scale / 2;
  pen.drawImage(small, box.left * half, box.top * half, box.width * half, box.height * half);
}

/**
 * The answer in words, and the three likeliest classes.
 *
 * @param {HTMLElement} card
 * @param {Answer} answer
 */
function tell(card, { probabilities }) {
  const best = probabilities
    .map((share, at) => ({ share, name: model.shown[at] }))
    .sort((one, other) => other.share - one.share)
    .slice(0, 3);
  const sure = model.sure_from !== null && best[0].share >= model.sure_from;
  card.classList.toggle("doubt", !sure);
  write(card, "h2", sure ? best[0].name : "Not sure");
  write(
    card,
    ".words",
    sure ? "" : `Perhaps ${best[0].name}. A closer, sharper photo in daylight may help.`,
  );
  const rows = best.map(({ share, name }) => {
    const row = copyOf("bar");
    write(row, ".name", name);
    write(row, ".share", percent(share));
    /** @type {HTMLElement} */ (row.querySelector(".bar span")).style.width = `${100 * share}%`;
    return row;
  });
  card.querySelector(".bars")?.replaceChildren(...rows);
  const said = sure ? best[0].name : `not sure, perhaps ${best[0].name}`;
  return `${said}, ${percent(best[0].share)}`;
}

/**
 * Look at photos one by one, each on a card of its own, the newest above.
 *
 * @param {Iterable<File>} files
 */
async function look(files) {
  const cards = Array.from(files, (file) => {
    const card = copyOf("card");
    write(card, "h2", "Waiting");
    write(card, ".file", file.name);
    return { file, card };
  });
  const results = /** @type {HTMLElement} */ (document.getElementById("results"));
  results.prepend(...cards.map(({ card }) => card));
  turn = turn.then(async () => {
    for (const [at, { file, card }] of cards.entries()) {
      const which = cards.length > 1 ? `${at + 1} of ${cards.length}: ` : "";
      const said = await lookAt(file, card).catch(() => {
        write(card, "h2", "This photo could not be looked at.");
        return "could not be looked at";
      });
      say(which + said);
      if (at === 0) card.scrollIntoView({ behavior: "smooth", block: "nearest" });
    }
  });
}
let turn = Promise.resolve(); // a photo at a time: each needs much memory

/**
 * @param {File} file
 * @param {HTMLElement} card
 * @returns {Promise<string>} what is said aloud
 */
async function lookAt(file, card) {
  write(card, "h2", "Looking …");
  try {
    await ready;
  } catch {
    card.classList.add("bad");
    write(card, "h2", "Not looked at");
    return BROKEN;
  }
  try {
    const photo = await decode(file);
    try {
      const answer = await ask(photo);
      draw(card, photo.bitmap, answer.looked);
      card.querySelector("canvas")?.setAttribute("aria-label", `The photo ${file.name}`);
      return tell(card, answer);
    } finally {
      photo.bitmap.close();
    }
  } catch (error) {
    const words = error instanceof Refused ? error.message : "This photo needs more memory than there is.";
    card.classList.add("bad");
    write(card, "h2", "Not looked at");
    write(card, ".words", words);
    return words;
  }
}

const BROKEN =
  "The network could not be loaded. Open this page again with a connection, in an up-to-date browser.";

/** @param {string} words */
function say(words) {
  write(document.body, "#status", words);
}

/** @param {number} share */
function percent(share) {
  return `${Math.round(100 * share)} %`;
}

/**
 * @param {Element} within
 * @param {string} selector
 * @param {string} text
 */
function write(within, selector, text) {
  /** @type {HTMLElement} */ (within.querySelector(selector)).textContent = text;
}

/**
 * @param {string} id of a template
 * @returns {HTMLElement}
 */
function copyOf(id) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById(id));
  return /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
}

ready.catch(() => say(BROKEN));
for (const input of document.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => {
    const chooser = /** @type {HTMLInputElement} */ (input);
    look(chooser.files ?? []);
    chooser.value = ""; // the same photo can be chosen again
  });
}
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", () => document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  look(event.dataTransfer?.files ?? []);
});
