/* Replays the programs of lib/live/program.py, interpolates lattices, and fills figure templates with the results. */

// ---- one signature -> a function of its offsets --------------------------------------------------------------------
const walk = (shape, strides) => {        // every relative offset of a strided block, in row order
  let offsets = [0];
  shape.forEach((n, d) => { const next = []; for (const o of offsets) for (let i = 0; i < n; i++) next.push(o + i * strides[d]); offsets = next; });
  return Int32Array.from(offsets);
};
const volume = (shape) => shape.reduce((a, b) => a * b, 1);
const bindPointwise = (loop, shape, M, S) => {
  const longest = shape.indexOf(max(...shape)), inner = S.map((s) => (shape.length ? s[longest] : 0)), n = shape.length ? shape[longest] : 1;
  const [O, A, B, C] = M, [os, as, bs, cs] = inner;
  if (shape.length < 2) return (o) => loop(n, O, o[0], os, A, o[1], as, B, o[2], bs, C, o[3], cs);
  const rest = (x) => x.filter((_, d) => d !== longest), outer = rest(shape), m = volume(outer), none = new Int32Array(m);
  const [wo, wa, wb = none, wc = none] = S.map((s) => walk(outer, rest(s)));
  return (o) => { for (let i = 0; i < m; i++) loop(n, O, o[0] + wo[i], os, A, o[1] + wa[i], as, B, o[2] + wb[i], bs, C, o[3] + wc[i], cs); };
};
const move = (n, O, o, p, A, a, q) => {   // memory to memory; neighbours as a block
  if (p === 1 && q === 1 && n > 9 && O === A) O.copyWithin(o, a, a + n); else if (p === 1 && q === 0) O.fill(A[a], o, o + n); else POINTWISE.copy(n, O, o, p, A, a, q);
};
const bindReduce = (fold, [kept, reduced], [O, A], [so, sa]) => {
  const k = kept.length, wo = walk(kept, so), wa = walk(kept, sa.slice(0, k)), m = wo.length, tail = sa.slice(k), n = volume(reduced);
  const flat = reduced.every((size, d) => d === reduced.length - 1 || tail[d] === tail[d + 1] * reduced[d + 1]);
  if (flat) { const step = tail.length ? tail[tail.length - 1] : 0; return (o) => { for (let i = 0; i < m; i++) O[o[0] + wo[i]] = fold(A, o[1] + wa[i], step, n); }; }
  const inner = walk(reduced, tail), block = F64(n);
  return (o) => { for (let i = 0; i < m; i++) { const at = o[1] + wa[i]; for (let j = 0; j < n; j++) block[j] = A[at + inner[j]]; O[o[0] + wo[i]] = fold(block, 0, 1, n); } };
};
const bindScan = (run, shape, [O, A], [so, sa]) => {
  const d = shape.length - 1, wo = walk(shape.slice(0, d), so), wa = walk(shape.slice(0, d), sa);
  return (o) => { for (let i = 0; i < wo.length; i++) run(shape[d], O, o[0] + wo[i], so[d], A, o[1] + wa[i], sa[d]); };
};
const bindProduct = ([batch, rows, columns, inner], [O, A, B], [so, sa, sb]) => {
  const row = F64(columns), [, ai, ak] = sa, [, bk, bj] = sb, [, oi, oj] = so;
  return (o) => {
    for (let p = 0; p < batch; p++) for (let i = 0; i < rows; i++) {
      const a0 = o[1] + p * sa[0] + i * ai, b0 = o[2] + p * sb[0];
      let c = o[0] + p * so[0] + i * oi;
      if (inner < 5 || columns < 5) {
        for (let j = 0; j < columns; j++, c += oj) { let s = 0, a = a0, b = b0 + j * bj; for (let k = 0; k < inner; k++, a += ak, b += bk) s += A[a] * B[b]; O[c] = s; }
      } else {
        row.fill(0);
        for (let k = 0; k < inner; k++) { const v = A[a0 + k * ak]; for (let j = 0, b = b0 + k * bk; j < columns; j++, b += bj) row[j] += v * B[b]; }
        for (let j = 0; j < columns; j++, c += oj) O[c] = row[j];
      }
    }
  };
};
const bindMove = (op, [shape, steps, sizes], M, S) => {   // take: out, x, indices; put: x, values, indices
  const W = S.map((s) => walk(shape, s)), n = W[0].length, base = op === "take" ? 1 : 0, [O, A] = M, count = steps.length;
  return (o) => {
    for (let i = 0; i < n; i++) {
      let at = o[base] + W[base][i];
      for (let j = 0; j < count; j++) { const v = M[j + 2][o[j + 2] + W[j + 2][i]]; at += (v < 0 ? v + sizes[j] : v) * steps[j]; }
      if (base) O[o[0] + W[0][i]] = A[at]; else { const v = A[o[1] + W[1][i]]; O[at] = op === "put_add" ? O[at] + v : v; }
    }
  };
};
const bindBlock = (kernel, results, [batch, blocks, extra], M, S) => {
  const b = batch.length, outer = S.map((s) => walk(batch, s.slice(0, b))), inner = S.map((s, i) => walk(blocks[i], s.slice(b)));
  const scratch = blocks.map((block) => F64(volume(block))), m = volume(batch);
  const outs = scratch.slice(0, results), ins = scratch.slice(results);
  return (o) => {
    for (let p = 0; p < m; p++) {
      for (let i = results; i < M.length; i++) { const from = o[i] + outer[i][p], w = inner[i], X = scratch[i], A = M[i]; for (let j = 0; j < w.length; j++) X[j] = A[from + w[j]]; }
      kernel(outs, ins, blocks, extra);
      for (let i = 0; i < results; i++) { const to = o[i] + outer[i][p], w = inner[i], X = scratch[i], O = M[i]; for (let j = 0; j < w.length; j++) O[to + w[j]] = X[j]; }
    }
  };
};
const bind = ([op, params, layout], memory) => {
  const M = layout.map((l) => memory[l[0]]), S = layout.map((l) => l.slice(1));
  if (op === "copy") return bindPointwise(move, params, M, S);
  if (POINTWISE[op]) return bindPointwise(POINTWISE[op], params, M, S);
  if (REDUCE[op]) return bindReduce(REDUCE[op], params, M, S);
  if (SCAN[op]) return bindScan(SCAN[op], params, M, S);
  if (op === "mm") return bindProduct(params, M, S);
  if (op === "take" || op === "put" || op === "put_add") return bindMove(op, params, M, S);
  if (BLOCK[op]) return bindBlock(BLOCK[op], RESULTS[op], params, M, S);
  throw Error("this runtime has no operation " + op);
};
const effort = ([op, params]) => {        // numbers touched by one step, for slicing and the progress bar
  if (op === "mm") return 30 + volume(params);
  if (!Array.isArray(params[0])) return 30 + volume(params);
  const blocks = params[1].flat ? params[1].flat() : [];
  return 30 + volume(params[0]) * (BLOCK[op] ? 8 * volume(blocks.slice(0, 3)) : REDUCE[op] ? volume(blocks) : 2);
};

// ---- a program -----------------------------------------------------------------------------------------------------
const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const numbers = (text) => new ({ b: Int8Array, f: Float32Array, d: Float64Array })[text[0]](bytes(text.slice(1)).buffer);
const SLICE = 40000;                      // loops with less effort than this run in one go
const load = (program) => {
  const memory = { d: F64(program.size.d), f: new Float32Array(program.size.f) };
  for (const kind in program.constants) for (const [at, data] of program.constants[kind]) memory[kind].set(numbers(data), at);
  const functions = program.signatures.map((s) => bind(s, memory)), costs = program.signatures.map(effort), leaves = [];
  const build = (step) => {
    if (step[0] >= 0) { const o = Int32Array.from(step.slice(1)), leaf = { run: functions[step[0]], o, first: o.slice(), cost: costs[step[0]] }; leaves.push(leaf); return leaf; }
    const from = leaves.length, body = step[2].map(build), moved = [];
    let at = 0;
    if (step[3]) for (const leaf of leaves.slice(from)) { const by = step[3].slice(at, at += leaf.o.length); if (by.some((s) => s)) moved.push([leaf.o, Int32Array.from(by)]); }
    return { count: step[1], body, moved, cost: step[1] * (20 + body.reduce((s, i) => s + i.cost, 0)) };
  };
  const shift = (loop, times) => { for (const [o, by] of loop.moved) for (let i = 0; i < by.length; i++) o[i] += times * by[i]; };
  const run = (items) => {
    for (const item of items) {
      if (item.run) item.run(item.o);
      else { for (let i = 0; i < item.count; i++) { run(item.body); shift(item, 1); } shift(item, -item.count); }
    }
  };
  const go = function* (items) {          // the same with pauses: yields the effort spent
    for (const item of items) {
      if (item.run) { item.run(item.o); yield item.cost; }
      else if (item.cost < SLICE) { run([item]); yield item.cost; }
      else {
        const chunk = max(1, floor(SLICE * item.count / item.cost)), small = item.cost / item.count < SLICE;
        for (let i = 0; i < item.count;) {
          if (small) { const stop = Math.min(item.count, i + chunk), from = i; for (; i < stop; i++) { run(item.body); shift(item, 1); } yield item.cost / item.count * (stop - from); }
          else { yield* go(item.body); shift(item, 1); i++; }
        }
        shift(item, -item.count);
      }
    }
  };
  const steps = program.steps.map(build), total = steps.reduce((s, i) => s + i.cost, 1);
  const outs = program.outputs.map(([kind, at, shape, strides]) => ({ shape, A: memory[kind], at, w: walk(shape, strides) }));
  const set = (values) => { for (const name in program.inputs) memory.d[program.inputs[name]] = values[name]; };
  const read = () => outs.map(({ shape, A, at, w }) => ({ shape, data: Float64Array.from(w, (i) => A[at + i]) }));
  return {
    total,
    run(values) { this.begin(values); run(steps); return read(); },
    begin(values) {
      for (const leaf of leaves) leaf.o.set(leaf.first);      // an abandoned task leaves its loops half way
      set(values);
      const walker = go(steps);
      let spent = 0;
      return {
        get progress() { return spent / total; },
        advance(ms) {
          for (const stop = performance.now() + ms; ;) {
            const { done, value } = walker.next();
            if (done) { spent = total; this.outputs = read(); return true; }
            spent += value;
            if (performance.now() >= stop) return false;
          }
        },
      };
    },
  };
};

// ---- a lattice of figures computed when the book was built ---------------------------------------------------------
const lattice = (grid) => {
  const axes = Object.entries(grid.axes), tables = grid.out.map((o) => (o.texts ? null : o.bits === 8 ? bytes(o.data) : new Uint16Array(bytes(o.data).buffer)));
  const run = (values) => {
    const place = axes.map(([name, ticks]) => { let i = 0; while (i < ticks.length - 2 && values[name] >= ticks[i + 1]) i++; return [i, Math.min(1, max(0, (values[name] - ticks[i]) / (ticks[i + 1] - ticks[i])))]; });
    return grid.out.map((o, j) => {
      if (o.texts) return { text: o.texts[axes.reduce((at, [, ticks], d) => at * ticks.length + place[d][0] + Math.round(place[d][1]), 0)] };
      const size = volume(o.shape), data = F64(size), unit = (o.hi - o.lo) / (2 ** o.bits - 1);
      for (let corner = 0; corner < 1 << axes.length; corner++) {
        let weight = 1, at = 0;
        axes.forEach(([, ticks], d) => { const up = corner >> d & 1; weight *= up ? place[d][1] : 1 - place[d][1]; at = at * ticks.length + place[d][0] + up; });
        if (weight) for (let i = 0; i < size; i++) data[i] += weight * tables[j][at * size + i];
      }
      return { shape: o.shape, data: data.map((v) => o.lo + v * unit) };
    });
  };
  return { total: 1, run, begin: (values) => ({ progress: 0, advance() { this.outputs = run(values); return true; } }) };
};

// ---- numbers into words, results into figures ----------------------------------------------------------------------
const even = (long, rounded) => {         // Python rounds exact halves to even, JavaScript up; both know the exact decimals
  const kept = long.slice(0, -30).replace(/\.$/, "");
  return /^50*$/.test(long.slice(-30)) && "02468".includes(kept[kept.length - 1]) ? kept : rounded;
};
const fixed = (a, digits) => even(a.toFixed(digits + 30), a.toFixed(digits));
const scientific = (a, digits) => {
  const [long, power] = a.toExponential(digits + 30).split("e"), [short, risen] = a.toExponential(digits).split("e"), m = even(long, short);
  return m + "e" + (m === short ? risen : power);
};
const format = (v, spec) => {             // the part of Python's format language that figures use
  const m = /^([+ -]?)(0?)(\d*)(,?)(?:\.(\d+))?([fegd%]?)$/.exec(spec);
  if (!m) throw Error("cannot format by " + spec);
  const [, plus, zero, width, comma, places, type] = m, low = negative(v), a = abs(v);
  const power10 = (s) => s.replace(/e([+-])(\d)$/, "e$10$2");
  let digits = places === undefined ? 6 : +places, s;
  if (!isFinite(a)) s = a !== a ? "nan" : "inf";
  else if (type === "f" || type === "%") s = type === "%" ? fixed(100 * a, digits) + "%" : fixed(a, digits);
  else if (type === "d") s = fixed(a, 0);
  else if (type === "e") s = power10(scientific(a, digits));
  else if (type === "g" || places !== undefined) {
    digits = max(digits, 1);
    const short = scientific(a, digits - 1), e = +short.split("e")[1];
    s = e < -4 || e >= digits ? short.replace(/(\.\d*?)0+e/, "$1e").replace(".e", "e") : fixed(a, max(0, digits - 1 - e)).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
    s = power10(s);
    if (!type && /^\d+$/.test(s)) s += ".0";
  } else { s = power10(String(a)); if (/^\d+$/.test(s)) s += ".0"; }
  if (comma) s = s.replace(/^\d+/, (i) => i.replace(/\B(?=(\d{3})+$)/g, ","));
  const head = low && a === a && !(type === "d" && s === "0") ? "-" : plus === "+" || plus === " " ? plus : "";
  return zero ? head + s.padStart(+width - head.length, "0") : (head + s).padStart(+width);
};
const nest = ({ shape, data }) => {
  if (!shape.length) return data[0];
  if (shape.length === 1) return data;
  const step = data.length / shape[0], rest = shape.slice(1);
  return Array.from({ length: shape[0] }, (_, i) => nest({ shape: rest, data: data.subarray(i * step, (i + 1) * step) }));
};
const fill = (template, binds, outs) => {
  const figure = structuredClone(template);
  for (const { path, text, out } of binds) {
    let at = figure;
    for (const key of path.slice(0, -1)) at = at[key];
    at[path[path.length - 1]] = text ? text.map((t) => (typeof t === "string" ? t : format(outs[t[0]].data[0], t[1]))).join("") : outs[out].text !== undefined ? outs[out].text : nest(outs[out]);
  }
  return figure;
};
