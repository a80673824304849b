'use strict';
// Reads what is drawn: the charts and the lists of decisions hold all the data there is.
for (const figure of document.querySelectorAll('figure.course')) {
  const svg = figure.querySelector('svg');
  const tip = figure.querySelector('.tip');
  const cross = figure.querySelector('.cross');
  const walk = figure.querySelector('.walk');
  const [left, right, start, seconds, columns] =
    ['left', 'right', 'start', 'seconds', 'columns'].map((key) => Number(svg.dataset[key]));
  const decisions = [...figure.querySelectorAll('.decisions li')];
  const times = decisions.map((item) => Number(item.dataset.t));
  const width = svg.viewBox.baseVal.width;
  let series;
  let at = -1;

  // A band's path runs along the top and back along the bottom, an area's and a line's along the top; level stretches have no
  // points between their ends.
  const read = () => [...svg.querySelectorAll('path[data-per]')].map((path) => {
    const { name, unit, base, per } = path.dataset;
    const count = Number(path.dataset.columns || columns);
    const along = [[], []];
    let back = 0;
    let last;
    for (const point of path.getAttribute('d').replace(/[MZ]/g, '').split(' ')) {
      const [x, y] = point.split(',').map(Number);
      const column = Math.round((x - left) / (right - left) * count);
      const value = (Number(base) - y) / Number(per);
      if (last !== undefined && (column < last || along[0].length === count)) back = 1;
      const line = along[back];
      if (back === 0) while (line.length < column) line.push(line[line.length - 1]);
      else for (let c = last - 1; c > column && line[last] !== undefined; c--) line[c] = line[last];
      line[column] = value;
      last = column;
    }
    return { name, unit, count, pool: path.dataset.columns !== undefined, high: along[0], low: along[1] };
  });
  const two = (n) => String(n).padStart(2, '0');
  const moment = (t) => {
    const date = new Date((start + t) * 1000);
    const time = [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()].map(two).join(':');
    const days = Math.floor((start + t) / 86400);
    const day = days < 1825 ? 'day ' + (days + 1)
      : date.toLocaleDateString('en-GB', { weekday: 'short', day: 'numeric', month: 'short', timeZone: 'UTC' });
    return day + ' ' + time;
  };
  const short = (value, unit) => unit === '%' ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, '');
  const line = (parent, tag, text) => parent.appendChild(document.createElement(tag)).textContent = text;

  const show = (t, decision) => {
    series = series || read();
    const column = Math.min(columns - 1, Math.max(0, Math.floor(t / seconds * columns)));
    tip.replaceChildren();
    line(tip, 'b', moment(decision === undefined ? column * seconds / columns : t));
    series.forEach(({ name, unit, count, pool, high, low }, index) => {
      const here = Math.min(count - 1, Math.floor(column * count / columns));
      const beneath = series[index + 1];
      const from = pool ? high[here] - (beneath ? beneath.high[here] : 0) : low[here] ?? high[here];
      const to = pool ? from : high[here];
      const one = short(from, unit) === short(to, unit);
      if (pool ? from >= 0.05 : true) {
        line(tip, 'span', name + ' ' + (one ? '' : short(from, unit) + ' to ') + short(to, unit) + ' ' + unit);
      }
    });
    if (decision !== undefined) line(tip, 'i', decisions[decision].textContent);
    tip.hidden = false;
    const x = left + Math.min(1, Math.max(0, t / seconds)) * (right - left);
    cross.setAttribute('transform', 'translate(' + x + ' 0)');
    cross.classList.add('on');
    const pixel = x / width * svg.clientWidth;
    const fits = pixel + 14 + tip.offsetWidth < svg.clientWidth;
    tip.style.left = (fits ? pixel + 14 : Math.max(0, pixel - 14 - tip.offsetWidth)) + 'px';
  };
  const hide = () => {
    tip.hidden = true;
    cross.classList.remove('on');
  };
  const nearest = (t) => {
    let best;
    const reach = seconds / (right - left) * 6;
    times.forEach((time, index) => {
      const far = Math.abs(time - t);
      if (far <= reach && (best === undefined || far < Math.abs(times[best] - t))) best = index;
    });
    return best;
  };
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) * width / box.width;
    if (x < left || x > right) return hide();
    const t = (x - left) / (right - left) * seconds;
    const decision = nearest(t);
    show(decision === undefined ? t : times[decision], decision);
  });
  svg.addEventListener('pointerleave', hide);
  if (!walk) continue;
  const go = (to) => {
    at = Math.min(decisions.length - 1, Math.max(0, to));
    walk.setAttribute('aria-valuenow', at + 1);
    walk.setAttribute('aria-valuetext', decisions[at].textContent);
    show(times[at], at);
  };
  walk.addEventListener('keydown', (event) => {
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, PageDown: at + 10,
      PageUp: at - 10, Home: 0, End: decisions.length - 1 }[event.key];
    if (event.key === 'Escape') hide();
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  });
  walk.addEventListener('blur', hide);
}
