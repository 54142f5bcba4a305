'use strict';
// Keeps the page as the server last described it. Text goes in as text only.
(function () {
  const byId = (id) => document.getElementById(id);
  const el = (tag, text, cls) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (cls) e.className = cls;
    return e;
  };
  let selected = document.body.dataset.queue;

  const get = async (path) => {
    const answer = await fetch(path, { headers: { Accept: 'application/json' }, signal: AbortSignal.timeout(10000) });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.detail || answer.status);
    return body;
  };

  const row = (cells) => {
    const tr = el('tr');
    for (const [value, cls] of cells) {
      const td = el('td', value instanceof Node ? undefined : value, cls);
      if (value instanceof Node) td.append(value);
      tr.append(td);
    }
    return tr;
  };

  const showQueues = (queues) => {
    byId('queues').replaceChildren(...queues.map((q) => {
      const link = el('a', q.queue);
      link.href = '?queue=' + encodeURIComponent(q.queue);
      const name = el('span');
      name.append(link);
      if (q.error) name.append(' ', el('span', q.error, 'bad'));
      const tr = row([[name], [q.owned + ' of ' + q.partitions, 'n'], [q.members, 'n'], [q.waiting, 'n'], [q.pending, 'n'],
        [q.draining, 'n'], [q.parked, 'n'], [q.dead, 'n']]);
      if (q.queue === selected) tr.className = 'here';
      return tr;
    }));
    byId('noqueues').hidden = queues.length > 0;
  };

  const phases = ['at rest', '1 stopping', '2 synchronising', '3 resuming'];

  const showRing = (ring) => {
    const colour = new Map(ring.members.map((m, i) => [m.incarnation, 'c' + (i % 8)]));
    const name = new Map(ring.members.map((m) => [m.incarnation, m.name]));
    const owned = new Map();
    for (const p of ring.partitions) owned.set(p.owner, (owned.get(p.owner) || 0) + 1);
    byId('ringname').textContent = ring.queue;
    byId('epoch').textContent = ring.epoch;
    byId('phase').textContent = phases[ring.phase] || ring.phase;
    byId('mode').textContent = ring.mode;
    byId('leader').textContent = ring.leader || 'nobody';
    byId('members').replaceChildren(...ring.members.map((m) => {
      const label = el('span');
      label.append(el('span', undefined, 'dot ' + colour.get(m.incarnation)), m.name);
      return row([[label], [m.incarnation, 'name'], [m.state], [m.weight, 'n'], [owned.get(m.incarnation) || 0, 'n']]);
    }));
    byId('nomembers').hidden = ring.members.length > 0;
    byId('partitions').replaceChildren(...ring.partitions.map((p) => {
      const li = el('li', undefined, colour.get(p.owner) || '');
      const counts = el('span', p.pending + ' pending', 'counts');
      if (p.draining) counts.append(el('span', ', ' + p.draining + ' draining', 'draining'));
      const owner = el('span', p.owner === '-' ? 'nobody' : name.get(p.owner) || p.owner, 'owner');
      owner.title = p.owner;
      li.append(el('span', 'epoch ' + p.epoch, 'ep'), el('b', p.partition), owner, counts);
      return li;
    }));
    byId('ring').hidden = false;
  };

  const note = (text, bad) => {
    byId('note').textContent = text;
    byId('note').className = bad ? 'bad' : '';
  };

  const refresh = async () => {
    if (document.hidden) return;
    try {
      const queues = await get('/v1/queues');
      if (!selected && queues.length) selected = queues[0].queue;
      showQueues(queues);
      if (selected) showRing(await get('/v1/queues/' + encodeURIComponent(selected) + '/ring'));
      note('live, ' + new Date().toLocaleTimeString());
    } catch (e) {
      note('not up to date: ' + e.message, true);
    }
  };

  const loop = () => refresh().finally(() => setTimeout(loop, 1000));
  document.addEventListener('visibilitychange', refresh);
  loop();
})();
