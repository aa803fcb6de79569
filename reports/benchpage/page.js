'use strict';
(function () {
  const data = JSON.parse(document.getElementById('data').textContent);
  const painted = ['fill', 'fill-opacity', 'stroke', 'stroke-width', 'stroke-dasharray', 'stroke-linejoin', 'stroke-linecap', 'opacity', 'display', 'font-family', 'font-size', 'text-anchor', 'paint-order'];

  // A chart on its own has no style sheet: each element takes what it has here.
  function standalone(svg) {
    const copy = svg.cloneNode(true);
    const from = svg.querySelectorAll('*'), to = copy.querySelectorAll('*');
    from.forEach(function (element, i) {
      const style = getComputedStyle(element);
      to[i].setAttribute('style', painted.map(function (p) { return p + ':' + style.getPropertyValue(p); }).join(';'));
    });
    copy.setAttribute('width', svg.viewBox.baseVal.width);
    copy.setAttribute('height', svg.viewBox.baseVal.height);
    copy.style.background = getComputedStyle(document.body).backgroundColor;
    return new XMLSerializer().serializeToString(copy);
  }

  function save(name, type, text) {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], { type: type }));
    link.download = name;
    link.click();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
  }

  function toggle(key) {
    const on = key.getAttribute('aria-pressed') === 'false';
    key.setAttribute('aria-pressed', String(on));
    key.closest('svg').querySelectorAll('.series[data-series="' + key.dataset.series + '"]').forEach(function (s) { s.classList.toggle('off', !on); });
  }

  document.addEventListener('click', function (event) {
    const button = event.target.closest('button[data-save]');
    if (button) {
      const figure = button.closest('figure');
      const name = figure.querySelector('figcaption b').textContent.replace(/[^A-Za-z0-9]+/g, '-');
      if (button.dataset.save === 'csv') save(name + '.csv', 'text/csv', data[figure.id]);
      else save(name + '.svg', 'image/svg+xml', standalone(figure.querySelector('svg')));
    }
    const key = event.target.closest('.key');
    if (key) toggle(key);
  });
  document.addEventListener('keydown', function (event) {
    const key = event.target.closest('.key');
    if (key && (event.key === 'Enter' || event.key === ' ')) { event.preventDefault(); toggle(key); }
  });
  addEventListener('beforeprint', function () { document.querySelectorAll('details').forEach(function (d) { d.open = true; }); });
})();
