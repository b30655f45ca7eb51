// @ts-check
/**
 * A photo -> the uint8 picture a network takes, as data/presize.py makes it: the same boxes, borders
 * and antialiased resize, equal to the byte where the decoded pixels are. A browser's own scaling
 * is another in every browser.
 *
 * A photo is read in bands of rows, so that one of 48 megapixels needs little beside itself.
 *
 * @typedef {[height: number, width: number]} Size
 * @typedef {{presize: Size, resize: string, pad_mode: string, draft: boolean}} Way
 * @typedef {{left: number, top: number, width: number, height: number}} Box in pixels of a photo; it
 *     may reach outside, where the photo is padded
 * @typedef {object} Photo upright
 * @property {number} height
 * @property {number} width
 * @property {boolean} drafted whether Python decodes such a file smaller, as libjpeg can
 * @property {number} orientation EXIF's, by which it has been turned
 * @property {(top: number, count: number) => Uint8ClampedArray | Uint8Array} rows RGBA, opaque
 * @typedef {object} Taps of one side: what each pixel of the result is a mean of
 * @property {Int32Array} starts the first position of each
 * @property {Int32Array} counts how many positions
 * @property {Int32Array} weights `most` of each, of PRECISION bits
 * @property {number} most
 * @property {Int32Array} sources the photo's pixel at each position, or -1 for black
 */

const BAND = 2 ** 22; // pixels read at once
const LONG = 8; // results that a box may be continued by, as in Python
const PRECISION = 22; // bits of a weight, as in Pillow
const FROM_RIGHT = new Set([2, 3, 6, 7]); // EXIF orientations whose files begin at that side
const FROM_BELOW = new Set([3, 4, 7, 8]);

/**
 * @param {Photo} photo
 * @param {Way} way
 * @returns {Uint8Array} [height, width, 3] of the presized shape
 */
export function presize(photo, way) {
  const factor = photo.drafted && way.draft ? draftFactor([photo.height, photo.width], way) : 1;
  const height = Math.ceil(photo.height / factor);
  const width = Math.ceil(photo.width / factor);
  const box = resizeBox([height, width], way.presize, way.resize);
  const down = taps(box.top, box.height, height, way.presize[0], way);
  const across = taps(box.left, box.width, width, way.presize[1], way);
  const narrow = new Uint8Array(height * across.starts.length * 3);
  const band = Math.max(1, Math.floor(BAND / (photo.width * factor)));
  // Squares are counted from where the file begins, so that those that are not whole end it.
  const above = FROM_BELOW.has(photo.orientation) ? height * factor - photo.height : 0;
  const beside = FROM_RIGHT.has(photo.orientation) ? width * factor - photo.width : 0;
  for (let top = 0; top < height; top += band) {
    const count = Math.min(band, height - top);
    const first = Math.max(0, top * factor - above);
    const last = Math.min(photo.height, (top + count) * factor - above);
    const read = photo.rows(first, last - first);
    const lacking = top ? 0 : above;
    const size = /** @type {Size} */ ([last - first, photo.width]);
    const pixels = factor === 1 ? read : average(read, size, factor, [lacking, beside]);
    resizeRows(pixels, width, across, narrow.subarray(top * across.starts.length * 3), count);
  }
  return resizeColumns(narrow, across.starts.length, down);
}

/**
 * The box about the middle that becomes the result.
 *
 * @param {Size} source
 * @param {Size} size
 * @param {string} resize
 * @returns {Box}
 */
export function resizeBox(source, size, resize) {
  if (resize === "squish") return { left: 0, top: 0, width: source[1], height: source[0] };
  const wider = source[1] * size[0] >= source[0] * size[1];
  let [height, width] = source;
  if (wider === (resize === "pad")) height = Math.max(1, Math.floor((width * size[0]) / size[1]));
  else width = Math.max(1, Math.floor((height * size[1]) / size[0]));
  const top = Math.trunc((source[0] - height) / 2);
  const left = Math.trunc((source[1] - width) / 2);
  return { left, top, width, height };
}

/**
 * By how much libjpeg decodes a photo smaller, where the result needs no more: 1, 2, 4 or 8.
 *
 * @param {Size} source
 * @param {Way} way
 */
function draftFactor(source, { presize, resize }) {
  const box = resizeBox(source, presize, resize);
  const least = [
    Math.ceil((source[0] * presize[0]) / box.height),
    Math.ceil((source[1] * presize[1]) / box.width),
  ];
  const most = Math.min(...source.map((side, axis) => Math.floor(side / least[axis])));
  return [8, 4, 2].find((factor) => factor <= most) ?? 1;
}

/**
 * Means of squares of pixels: what libjpeg's smaller decoding gives but for rounding and colour.
 *
 * @param {Uint8ClampedArray | Uint8Array} pixels RGBA
 * @param {Size} size
 * @param {number} factor
 * @param {[above: number, beside: number]} lacking what the first squares have outside of the photo
 */
function average(pixels, [height, width], factor, [above, beside]) {
  const columns = Math.ceil((width + beside) / factor);
  const rows = Math.ceil((height + above) / factor);
  const result = new Uint8Array(rows * columns * 4);
  const sums = new Uint32Array(columns * 4);
  const squares = Uint32Array.from({ length: width }, (_, x) => Math.floor((x + beside) / factor));
  const wide = new Uint32Array(columns);
  squares.forEach((square) => wide[square]++);
  for (let row = 0; row < rows; row++) {
    const start = Math.max(0, row * factor - above);
    const end = Math.min(height, (row + 1) * factor - above);
    sums.fill(0);
    for (let from = start * width * 4, y = start; y < end; y++) {
      for (let x = 0; x < width; x++, from += 4) {
        const to = squares[x] * 4;
        sums[to] += pixels[from];
        sums[to + 1] += pixels[from + 1];
        sums[to + 2] += pixels[from + 2];
      }
    }
    for (let at = 0; at < columns * 4; at++) {
      const count = (end - start) * wide[at >> 2];
      result[row * columns * 4 + at] = Math.floor(sums[at] / count + 0.5);
    }
  }
  return result;
}

/**
 * One side of the resize: Pillow's triangle filter, as wide as the shrinking asks for, in its
 * numbers of 22 bits (libImaging/Resample.c).
 *
 * @param {number} start of the box
 * @param {number} length of the box
 * @param {number} source pixels of the photo
 * @param {number} size pixels of the result
 * @param {Way} way
 * @returns {Taps}
 */
export function taps(start, length, source, size, { resize, pad_mode }) {
  const padded = resize === "pad";
  const sources = Int32Array.from({ length: padded ? length : source }, (_, at) =>
    padded ? inside(at + start, source, pad_mode) : at,
  );
  // Python resizes a crop with what fits beside it, and cuts it out then.
  const unit = length / size;
  const room = padded ? 0 : Math.min(start, source - start - length);
  const beside = Math.min(Math.trunc(room / unit), LONG * size);
  const from = padded ? 0 : start;
  const low = Math.fround(Math.max(0, from - beside * unit));
  const high = Math.fround(Math.min(sources.length, from + length + beside * unit));
  const scale = Math.fround(high - low) / (size + 2 * beside);
  const support = Math.max(1, scale);
  const most = Math.ceil(support) * 2 + 1;
  const weights = new Int32Array(size * most);
  const starts = new Int32Array(size);
  const counts = new Int32Array(size);
  for (let at = 0; at < size; at++) {
    const centre = low + (at + beside + 0.5) * scale;
    starts[at] = Math.max(0, Math.trunc(centre - support + 0.5));
    counts[at] = Math.min(sources.length, Math.trunc(centre + support + 0.5)) - starts[at];
    const shares = Array.from({ length: counts[at] }, (_, tap) =>
      Math.max(0, 1 - Math.abs((tap + starts[at] - centre + 0.5) * (1 / support))),
    );
    const whole = shares.reduce((sum, share) => sum + share, 0);
    shares.forEach((share, tap) => {
      weights[at * most + tap] = Math.trunc(0.5 + (share / whole) * 2 ** PRECISION);
    });
  }
  return { starts, counts, weights, most, sources };
}

/**
 * The photo's pixel at a place beside it, along one side; -1: black.
 *
 * @param {number} at
 * @param {number} source
 * @param {string} padMode
 */
function inside(at, source, padMode) {
  if (at >= 0 && at < source) return at;
  if (padMode === "zeros") return -1;
  if (padMode === "border" || source === 1) return at < 0 ? 0 : source - 1;
  const period = 2 * (source - 1);
  const folded = ((at % period) + period) % period;
  return Math.min(folded, period - folded);
}

/**
 * @param {Uint8ClampedArray | Uint8Array} pixels RGBA
 * @param {number} width
 * @param {Taps} across
 * @param {Uint8Array} result RGB
 * @param {number} rows
 */
function resizeRows(pixels, width, { starts, counts, weights, most, sources }, result, rows) {
  const half = 2 ** (PRECISION - 1);
  for (let row = 0, to = 0; row < rows; row++) {
    for (let x = 0; x < starts.length; x++, to += 3) {
      let red = half;
      let green = half;
      let blue = half;
      for (let tap = 0; tap < counts[x]; tap++) {
        const source = sources[starts[x] + tap];
        if (source < 0) continue;
        const from = (row * width + source) * 4;
        const weight = weights[x * most + tap];
        red += pixels[from] * weight;
        green += pixels[from + 1] * weight;
        blue += pixels[from + 2] * weight;
      }
      result[to] = clip(red);
      result[to + 1] = clip(green);
      result[to + 2] = clip(blue);
    }
  }
}

/**
 * @param {Uint8Array} narrow RGB
 * @param {number} width
 * @param {Taps} down
 */
function resizeColumns(narrow, width, { starts, counts, weights, most, sources }) {
  const result = new Uint8Array(starts.length * width * 3);
  for (let y = 0; y < starts.length; y++) {
    for (let x = 0; x < width * 3; x++) {
      let sum = 2 ** (PRECISION - 1);
      for (let tap = 0; tap < counts[y]; tap++) {
        const source = sources[starts[y] + tap];
        if (source >= 0) sum += narrow[source * width * 3 + x] * weights[y * most + tap];
      }
      result[y * width * 3 + x] = clip(sum);
    }
  }
  return result;
}

/** @param {number} sum */
function clip(sum) {
  return Math.min(255, sum >> PRECISION);
}
