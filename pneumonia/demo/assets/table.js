// The table of many films: rows arrive while the server reads, are known by their index, and are sorted here.
// What arrives is data, never markup: every text is set as text.
(() => {
  const rows = new Map();
  let run = null;
  let order = { by: null, down: false };
  let waiting = false;

  const part = (selector) => document.querySelector(`.many ${selector}`);
  const words = () => JSON.parse(document.querySelector('.many').dataset.words);
  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  const scale = (cell) => {
    const track = element('span', '', 'many-track');
    track.setAttribute('aria-hidden', 'true');
    const value = element('span', '', 'many-value');
    const mark = element('span', '', 'many-mark');
    value.style.width = `${100 * cell.probability}%`;
    mark.style.left = `${100 * cell.threshold}%`;
    track.append(value, mark);
    return track;
  };

  const made = (cell) => {
    const row = element('tr', '', cell.status);
    const picture = element('td', '', 'many-picture');
    if (cell.picture.startsWith('data:image/jpeg;base64,')) {
      const image = element('img');
      image.alt = '';
      image.src = cell.picture;
      picture.append(image);
    }
    const answer = element('td');
    answer.append(element('strong', cell.verdict));
    if (cell.more) answer.append(element('small', cell.more));
    const probability = element('td', '', 'many-number');
    if (cell.probability !== null) probability.append(element('span', cell.shown), scale(cell));
    const name = element('th', cell.name, 'many-name');
    name.scope = 'row';
    row.append(picture, name, answer, probability);
    return row;
  };

  const keys = {
    file: (one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }),
    answer: (one, other) => one.verdict.localeCompare(other.verdict) || one.index - other.index,
    probability: (one, other) => (one.probability ?? -1) - (other.probability ?? -1) || one.index - other.index,
  };

  const sort = () => {
    const listed = [...rows.values()].sort((one, other) =>
      order.by ? (order.down ? -1 : 1) * keys[order.by](one.cell, other.cell) : one.cell.index - other.cell.index);
    part('tbody').append(...listed.map((entry) => entry.row));
    for (const head of document.querySelectorAll('.many th[data-by]')) {
      const chosen = head.dataset.by === order.by;
      head.setAttribute('aria-sort', chosen ? (order.down ? 'descending' : 'ascending') : 'none');
    }
  };

  const take = (news) => {
    if (news.run !== run) {
      run = news.run;
      rows.clear();
      part('tbody').replaceChildren();
    }
    let added = false;
    for (const cell of news.rows) {
      if (rows.has(cell.index)) continue;
      rows.set(cell.index, { cell, row: made(cell) });
      added = true;
    }
    part('table').hidden = rows.size === 0;
    if (news.state !== 'running') {
      sort();
    } else if (added && !waiting) {
      waiting = true;
      requestAnimationFrame(() => { waiting = false; sort(); });
    }
    const text = words();
    const said = { running: news.done ? text.progress : text.starting, done: text.done, stopped: text.stopped };
    part('.many-state').textContent = filled(said[news.state], { done: news.done, total: news.total });
    const bar = part('.many-bar');
    bar.hidden = news.state !== 'running';
    bar.max = Math.max(news.total, 1);
    bar.value = news.done;
  };

  const save = (file) => {
    const address = URL.createObjectURL(new Blob([file.content], { type: `${file.kind};charset=utf-8` }));
    const link = element('a');
    link.href = address;
    link.download = file.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  };

  // Gradio may put a new element there, or change the one that is there.
  const last = { news: '', file: '' };
  const look = () => {
    for (const [name, use] of [['news', take], ['file', save]]) {
      const said = document.querySelector(`#many-${name} [data-${name}]`)?.dataset[name] ?? '';
      if (said === last[name]) continue;
      last[name] = said;
      if (said) use(JSON.parse(said));
    }
  };

  const watched = { childList: true, subtree: true, attributes: true, attributeFilter: ['data-news', 'data-file'] };
  new MutationObserver(look).observe(document.documentElement, watched);
  document.addEventListener('click', (event) => {
    const head = event.target.closest('.many th[data-by]');
    if (!head) return;
    const by = head.dataset.by;
    order = { by, down: order.by === by ? !order.down : by === 'probability' };
    sort();
  });
})();
