'use strict';

const SVG = 'http://www.w3.org/2000/svg';
const $ = (id) => document.getElementById(id);
const canvas = $('canvas');
let model = null;     // what the server says about itself
let shown = null;     // the last result, with its pictures loaded
let running = null;   // stops the request that is under way
const MOST_HIDDEN = 0.15;  // part of a box that a text may cover

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

function say(text, wrong = false) {
  $('status').textContent = text;
  $('status').classList.toggle('wrong', wrong);
}

/* From an image to a result. */

async function start() {
  model = await (await fetch('model')).json();
  $('model').textContent = `${model.model}, ${model.checkpoint}`;
  $('limits').textContent = `up to ${model.limits.megabytes} MB and ` +
    `${model.limits.megapixels} million pixels`;
  Object.assign($('threshold'), {min: model.least, max: 1});
  $('threshold').value = model.threshold;
}

async function take(files) {
  const file = [...files].find((file) => file.size || file.type);
  if (!file || !model) return;
  if (running) running.abort();
  const mine = running = new AbortController();
  const name = file.name || 'the image';
  try {
    if (file.size > model.limits.bytes) {
      throw new Error('the file is too large: ' +
        `${model.limits.megabytes} MB is the limit`);
    }
    say(`Predicting ${name} …`);
    canvas.classList.add('old');
    const answer = await fetch('predict', {
      method: 'POST', body: file, signal: mine.signal,
      headers: {'Content-Type': 'application/octet-stream'}});
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    await load(found);
    if (mine !== running) return;
    shown = Object.assign(found, {name});
    say(`${name}: ${found.width} × ${found.height} pixels, ` +
        `${Math.round(found.milliseconds)} ms`);
    canvas.hidden = $('panel').hidden = false;
    $('threshold-row').hidden = !found.objects;
    $('opacity-row').hidden = !found.layer &&
      !(found.objects || []).some((one) => one.mask);
    draw();
  } catch (error) {
    if (error.name === 'AbortError' || mine !== running) return;
    shown = null;
    canvas.hidden = $('panel').hidden = true;
    const lost = error instanceof TypeError;
    say(`${name}: ${lost ? 'the server does not answer' : error.message}`,
        true);
  } finally {
    if (mine === running) canvas.classList.remove('old');
  }
}

function picture(url) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => failed(new Error('the answer cannot be shown'));
    image.src = url;
  });
}

async function load(found) {
  found.image = await picture(found.picture);
  if (found.layer) found.cover = await picture(found.layer);
  for (const one of found.objects || []) {
    if (one.mask) one.cover = await picture(one.mask);
  }
}

/* From a result to what is seen; nothing is computed anew. */

function draw() {
  const threshold = Number($('threshold').value);
  const opacity = Number($('opacity').value) / 100;
  $('threshold-value').textContent = threshold.toFixed(2);
  $('opacity-value').textContent = percent(opacity);
  if (!shown) return;
  const objects = (shown.objects || []).filter(
    (one) => one.score >= threshold);
  paint(objects, opacity);
  const rows = shown.objects ? objects : shown.labels;
  $('heading').textContent = title(objects);
  $('list').replaceChildren(...rows.map(row));
  canvas.setAttribute('aria-label', `${shown.name}: ` + (rows.map(
    (one) => `${one.name} ${percent(one.score)}`).join(', ') || 'nothing'));
}

function title(objects) {
  if (!shown.objects) {
    return {segmentation: 'Share of pixels', retrieval: 'Most similar',
            classification: 'Most likely'}[shown.task];
  }
  const counts = new Map();
  for (const {name} of objects) counts.set(name, (counts.get(name) || 0) + 1);
  return [...counts].map(([name, count]) => `${count} ${name}`).join(', ') ||
    `No objects above this score (${shown.objects.length} below)`;
}

function paint(objects, opacity) {
  const {image} = shown;
  const scale = Math.max(1, Math.ceil(480 / image.width));
  canvas.width = image.width * scale;
  canvas.height = image.height * scale;
  const brush = canvas.getContext('2d');
  brush.imageSmoothingEnabled = scale === 1;
  brush.drawImage(image, 0, 0, canvas.width, canvas.height);
  brush.globalAlpha = opacity;
  for (const {cover} of [shown, ...objects]) {
    if (cover) brush.drawImage(cover, 0, 0, canvas.width, canvas.height);
  }
  brush.globalAlpha = 1;
  // Lines and letters of one size on the screen, however large the image.
  const unit = Math.max(1, canvas.width / (canvas.clientWidth || 800));
  frames(brush, objects, unit);
}

/* Boxes, and texts that hide no object. If fewer than half have room, only
   the list names the colors. */
function frames(brush, objects, unit) {
  const across = canvas.width / shown.width;
  const down = canvas.height / shown.height;
  const taken = objects.map(({box}) => box.map(
    (value, index) => value * (index % 2 ? down : across)));
  // The surest is on top.
  for (const [index, one] of [...objects.entries()].reverse()) {
    const [left, top, right, bottom] = taken[index];
    const side = Math.min(right - left, bottom - top);
    const line = Math.min(Math.max(unit, side / 12), 2.5 * unit);
    brush.lineWidth = line;
    brush.strokeStyle = one.color;
    brush.strokeRect(left - line / 2, top - line / 2, right - left + line,
                     bottom - top + line);
  }
  const size = 14 * unit;
  brush.font = `${size}px system-ui, sans-serif`;
  const texts = objects.map(
    (one) => `${one.name} ${one.score.toFixed(2)}`);
  const places = objects.map((one, index) => {
    const place = around(taken[index], size,
                         brush.measureText(texts[index]).width).find(
      (one) => taken.every((other) => hidden(one, other) <= MOST_HIDDEN));
    if (place) taken.push(place);
    return place;
  });
  if (2 * places.filter(Boolean).length < places.length) return;
  for (const [index, place] of places.entries()) {
    if (place) write(brush, texts[index], place, objects[index].color, size);
  }
}

/* Places for a text above and below a box. */
function around([left, top, , bottom], size, width) {
  const height = 1.35 * size;
  const x = Math.max(0, Math.min(left, canvas.width - width - 0.6 * size));
  return [top - height, bottom].map((y) => {
    const inside = Math.max(0, Math.min(y, canvas.height - height));
    return [x, inside, x + width + 0.6 * size, inside + height];
  });
}

/* The share of a rectangle that a place covers. */
function hidden(place, other) {
  const width = Math.min(place[2], other[2]) - Math.max(place[0], other[0]);
  const height = Math.min(place[3], other[3]) - Math.max(place[1], other[1]);
  const area = (other[2] - other[0]) * (other[3] - other[1]);
  return Math.max(width, 0) * Math.max(height, 0) / Math.max(area, 1);
}

function write(brush, text, [left, top, right, bottom], color, size) {
  brush.fillStyle = color;
  brush.fillRect(left, top, right - left, bottom - top);
  brush.fillStyle = ink(color);
  brush.textBaseline = 'middle';
  brush.fillText(text, left + 0.3 * size, (top + bottom) / 2);
}

function ink(color) {
  const [red, green, blue] = [1, 3, 5].map(
    (start) => parseInt(color.slice(start, start + 2), 16));
  return 0.3 * red + 0.59 * green + 0.11 * blue > 140 ? '#000' : '#fff';
}

function row(one) {
  const item = document.createElement('li');
  if (one.color || one.picture) item.append(mark(one));
  else item.className = 'plain';
  item.append(part('name', one.name),
              part('score', shown.layer ? percent(one.score) :
                   one.score.toFixed(2)));
  if (shown.task === 'classification') {
    const meter = document.createElement('meter');
    meter.value = one.score;
    meter.setAttribute('aria-hidden', 'true');
    item.append(meter);
  }
  return item;
}

function mark({color, picture: thumbnail}) {
  if (thumbnail) {
    const image = new Image();
    image.src = thumbnail;
    image.alt = '';
    return image;
  }
  // The policy of the page allows no style attributes.
  const square = document.createElementNS(SVG, 'svg');
  const area = document.createElementNS(SVG, 'rect');
  square.setAttribute('aria-hidden', 'true');
  area.setAttribute('width', '100%');
  area.setAttribute('height', '100%');
  area.setAttribute('fill', color);
  square.append(area);
  return square;
}

function part(kind, text) {
  const span = document.createElement('span');
  span.className = kind;
  span.textContent = text;
  return span;
}

/* What a user does. */

for (const kind of ['dragenter', 'dragover']) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $('drop').classList.add('over');
  });
}
for (const kind of ['dragleave', 'drop']) {
  document.addEventListener(kind, () => $('drop').classList.remove('over'));
}
document.addEventListener('drop', (event) => {
  event.preventDefault();
  take(event.dataTransfer.files);
});
document.addEventListener('paste', (event) => take(event.clipboardData.files));
$('file').addEventListener('change', (event) => {
  take(event.target.files);
  event.target.value = '';  // so that the same file may be taken again
});
$('threshold').addEventListener('input', draw);
$('opacity').addEventListener('input', draw);
window.addEventListener('resize', draw);
$('save').addEventListener('click', () => canvas.toBlob((blob) => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `${shown.name.replace(/\.\w+$/, '')}-found.png`;
  link.click();
  URL.revokeObjectURL(link.href);
}));

start().catch(() => say('The server does not answer.', true));
