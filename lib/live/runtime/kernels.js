/* Scalar functions and block kernels. The expressions of the operation table call the scalar functions by name; a block
   kernel gets (results, inputs, sizes, constants) as contiguous Float64Arrays. The loops of the table follow this file. */
const { abs, sqrt, exp, log, floor, sign, PI, cos, sin, hypot, max } = Math;
const F64 = (n) => new Float64Array(n);

// ---- scalar functions ----------------------------------------------------------------------------------------------
const rint = (a) => { const r = Math.round(a); return abs(a % 1) === .5 && r % 2 !== 0 ? r - 1 : r; };
const negative = (a) => a < 0 || Object.is(a, -0);
const power = (a, b) => a === 1 || (a === -1 && (b === Infinity || b === -Infinity)) ? 1 : a ** b;
const modulo = (a, b) => { const r = a % b; return r !== 0 && (r < 0) !== (b < 0) ? r + b : r; };
const floordiv = (a, b) => {
  if (b === 0) return a / b;
  const m = a % b;
  let d = (a - m) / b;
  if (m !== 0 && (b < 0) !== (m < 0)) d -= 1;
  if (d === 0) return negative(a) !== negative(b) ? -0 : 0;
  const f = floor(d);
  return d - f > .5 ? f + 1 : f;
};
const logaddexp = (a, b) => {
  if (a !== a || b !== b) return NaN;
  const m = max(a, b);
  return m === Infinity || m === -Infinity ? m : m + Math.log1p(exp(-abs(a - b)));
};
const erfcTail = (z) => {                 // continued fraction, z >= 2
  let f = 0;
  for (let k = 80; k > 0; k--) f = k / 2 / (z + f);
  return exp(-z * z) / sqrt(PI) / (z + f);
};
const erf = (x) => {
  const z = abs(x);
  if (z !== z || z === 0) return x;
  if (z >= 2) return sign(x) * (1 - erfcTail(z));
  let s = z, t = z;
  for (let n = 1; n < 70; n++) { t *= -z * z / n; s += t / (2 * n + 1); }
  return sign(x) * 2 / sqrt(PI) * s;
};
const erfc = (x) => x >= 2 ? erfcTail(x) : x <= -2 ? 2 - erfcTail(-x) : 1 - erf(x);
const erfinv = (x) => {
  if (!(abs(x) < 1)) return abs(x) === 1 ? x * Infinity : NaN;
  if (x === 0) return x;
  const rest = 1 - abs(x), w = log(rest * (1 + abs(x))), u = 2 / (PI * .147) + w / 2;
  let y = sqrt(sqrt(u * u - w / .147) - u);   // Winitzki's start, then Halley
  for (let i = 0; i < 4; i++) {
    const f = y > 1 ? rest - erfc(y) : erf(y) - abs(x), d = 2 / sqrt(PI) * exp(-y * y);
    y -= f / (d + y * f);
  }
  return sign(x) * y;
};
const sinpi = (x) => { const r = x - 2 * rint(x / 2); return sin(PI * (r > .5 ? 1 - r : r < -.5 ? -1 - r : r)); };
const LANCZOS = [.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];
const lgamma = (x) => {
  if (x !== x) return x;
  if (abs(x) === Infinity || (x <= 0 && x === floor(x))) return Infinity;
  if (abs(x) < 1e-20) return -log(abs(x));
  if (x < .5) return log(PI) - log(abs(sinpi(x))) - lgamma(1 - x);
  let s = LANCZOS[0];
  for (let i = 1; i < 9; i++) s += LANCZOS[i] / (x - 1 + i);
  const t = x + 6.5;
  return .5 * log(2 * PI) + (x - .5) * log(t) - t + log(s);
};
const digamma = (x) => {
  if (x === 0) return negative(x) ? Infinity : -Infinity;
  if (x < 0) return x === floor(x) ? NaN : digamma(1 - x) - PI / Math.tan(PI * (x - rint(x)));
  let s = 0;
  for (; x < 10; x++) s -= 1 / x;
  const y = 1 / (x * x);
  return s + log(x) - .5 / x - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * (691 / 32760 - y / 12))))));
};
const trigamma = (x) => {
  if (x === -Infinity) return Infinity;
  if (x < .5) return (PI / sinpi(x)) ** 2 - trigamma(1 - x);
  let s = 0;
  for (; x < 10; x++) s += 1 / (x * x);
  const y = 1 / (x * x);
  return s + 1 / x + y / 2 + y / x * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y * (1 / 30 - y * (5 / 66 - y * (691 / 2730 - y * 7 / 6))))));
};
const hash = (x) => {                     // lib/live/random.py
  const s = (Math.imul(x, 747796405) + 2891336453) >>> 0, w = Math.imul((s >>> ((s >>> 28) + 4)) ^ s, 277803737) >>> 0;
  return ((w >>> 22) ^ w) >>> 0;
};

// ---- block kernels -------------------------------------------------------------------------------------------------
const extreme = (better) => ([out], [x]) => {
  let j = 0;
  for (let i = 0; i < x.length && x[j] === x[j]; i++) if (better(x[i], x[j]) || x[i] !== x[i]) j = i;
  out[0] = j;
};
const running = (better) => ([values, index], [x]) => {
  let j = 0;
  for (let i = 0; i < x.length; i++) {
    if (x[i] !== x[i] || (x[j] === x[j] && better(x[i], x[j]))) j = i;
    values[i] = x[j]; index[i] = j;
  }
};
const ascending = (a, b) => a < b ? -1 : a > b ? 1 : a === b ? 0 : (a !== a) - (b !== b);
const multiply = (a, b, n) => {           // n x n matrices
  const c = F64(n * n);
  for (let i = 0; i < n; i++) for (let k = 0; k < n; k++) { const v = a[i * n + k]; for (let j = 0; j < n; j++) c[i * n + j] += v * b[k * n + j]; }
  return c;
};
const hessenberg = (H, n) => {            // by Householder reflections
  for (let m = 1; m < n - 1; m++) {
    let scale = 0, h = 0;
    for (let i = m; i < n; i++) scale += abs(H[i * n + m - 1]);
    if (scale === 0) continue;
    const u = F64(n);
    for (let i = m; i < n; i++) { u[i] = H[i * n + m - 1] / scale; h += u[i] * u[i]; }
    const g = u[m] > 0 ? -sqrt(h) : sqrt(h);
    h -= u[m] * g; u[m] -= g;
    for (let j = 0; j < n; j++) { let f = 0; for (let i = m; i < n; i++) f += u[i] * H[i * n + j]; f /= h; for (let i = m; i < n; i++) H[i * n + j] -= f * u[i]; }
    for (let i = 0; i < n; i++) { let f = 0; for (let j = m; j < n; j++) f += u[j] * H[i * n + j]; f /= h; for (let j = m; j < n; j++) H[i * n + j] -= f * u[j]; }
    for (let i = m + 1; i < n; i++) H[i * n + m - 1] = 0;
  }
};
const spectrum = (H, nn, L) => {          // eigenvalues of a Hessenberg matrix: Francis' double shift (EISPACK hqr)
  const at = (i, j) => i * nn + j, eps = 2 ** -52;
  let norm = 0, t = 0, n = nn - 1, iter = 0;
  for (let i = 0; i < nn; i++) for (let j = max(i - 1, 0); j < nn; j++) norm += abs(H[at(i, j)]);
  if (!(norm < Infinity)) { L.fill(NaN); return; }
  while (n >= 0) {
    let l = n;
    for (; l > 0; l--) {
      let s = abs(H[at(l - 1, l - 1)]) + abs(H[at(l, l)]);
      if (s === 0) s = norm;
      if (abs(H[at(l, l - 1)]) <= eps * s) break;
    }
    if (l === n || iter > 300) { L[2 * n] = H[at(n, n)] + t; L[2 * n + 1] = 0; n--; iter = 0; continue; }
    let x = H[at(n, n)], y = H[at(n - 1, n - 1)], w = H[at(n, n - 1)] * H[at(n - 1, n)];
    if (l === n - 1) {
      let p = (y - x) / 2, q = p * p + w, z = sqrt(abs(q));
      x += t;
      if (q >= 0) { z = p >= 0 ? p + z : p - z; L[2 * n - 2] = x + z; L[2 * n] = z ? x - w / z : x + z; L[2 * n - 1] = L[2 * n + 1] = 0; }
      else { L[2 * n - 2] = L[2 * n] = x + p; L[2 * n - 1] = z; L[2 * n + 1] = -z; }
      n -= 2; iter = 0; continue;
    }
    if (iter % 10 === 0 && iter) {        // an exceptional shift
      t += x;
      for (let i = 0; i <= n; i++) H[at(i, i)] -= x;
      const s = abs(H[at(n, n - 1)]) + abs(H[at(n - 1, n - 2)]);
      x = y = .75 * s; w = -.4375 * s * s;
    }
    iter++;
    let m = n - 2, p, q, r, s, z;
    for (; m >= l; m--) {
      z = H[at(m, m)]; r = x - z; s = y - z;
      p = (r * s - w) / H[at(m + 1, m)] + H[at(m, m + 1)]; q = H[at(m + 1, m + 1)] - z - r - s; r = H[at(m + 2, m + 1)];
      s = abs(p) + abs(q) + abs(r); p /= s; q /= s; r /= s;
      if (m === l || abs(H[at(m, m - 1)]) * (abs(q) + abs(r)) < eps * abs(p) * (abs(H[at(m - 1, m - 1)]) + abs(z) + abs(H[at(m + 1, m + 1)]))) break;
    }
    for (let i = m + 2; i <= n; i++) { H[at(i, i - 2)] = 0; if (i > m + 2) H[at(i, i - 3)] = 0; }
    for (let k = m; k < n; k++) {
      const more = k !== n - 1;
      if (k !== m) {
        p = H[at(k, k - 1)]; q = H[at(k + 1, k - 1)]; r = more ? H[at(k + 2, k - 1)] : 0; x = abs(p) + abs(q) + abs(r);
        if (x === 0) continue;
        p /= x; q /= x; r /= x;
      }
      s = p < 0 ? -sqrt(p * p + q * q + r * r) : sqrt(p * p + q * q + r * r);
      if (s === 0) continue;
      if (k !== m) H[at(k, k - 1)] = -s * x; else if (l !== m) H[at(k, k - 1)] *= -1;
      p += s; x = p / s; y = q / s; z = r / s; q /= p; r /= p;
      for (let j = k; j < nn; j++) {
        let f = H[at(k, j)] + q * H[at(k + 1, j)];
        if (more) { f += r * H[at(k + 2, j)]; H[at(k + 2, j)] -= f * z; }
        H[at(k, j)] -= f * x; H[at(k + 1, j)] -= f * y;
      }
      for (let i = 0; i <= Math.min(n, k + 3); i++) {
        let f = x * H[at(i, k)] + y * H[at(i, k + 1)];
        if (more) { f += z * H[at(i, k + 2)]; H[at(i, k + 2)] -= f * r; }
        H[at(i, k)] -= f; H[at(i, k + 1)] -= f * q;
      }
    }
  }
};
const eigenvector = (A, n, re, im) => {   // inverse iteration on (A - lambda), complex, n x 2 numbers of norm 1
  const w = 2 * n + 2, T = F64(n * w), norm = max(...A.map(abs)) || 1;
  let v = F64(2 * n).fill(1);
  for (let pass = 0; pass < 3; pass++) {
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) { T[i * w + 2 * j] = A[i * n + j] - (i === j ? re : 0); T[i * w + 2 * j + 1] = i === j ? -im : 0; }
      T[i * w + 2 * n] = v[2 * i]; T[i * w + 2 * n + 1] = v[2 * i + 1] * (im ? 1 : 0);
    }
    for (let c = 0; c < n; c++) {
      let p = c;
      for (let i = c + 1; i < n; i++) if (hypot(T[i * w + 2 * c], T[i * w + 2 * c + 1]) > hypot(T[p * w + 2 * c], T[p * w + 2 * c + 1])) p = i;
      if (p !== c) for (let j = 0; j < w; j++) [T[c * w + j], T[p * w + j]] = [T[p * w + j], T[c * w + j]];
      if (hypot(T[c * w + 2 * c], T[c * w + 2 * c + 1]) < 1e-15 * norm) T[c * w + 2 * c] = 1e-15 * norm;
      const a = T[c * w + 2 * c], b = T[c * w + 2 * c + 1], d = a * a + b * b;
      for (let i = 0; i < n; i++) if (i !== c) {
        const x = T[i * w + 2 * c], y = T[i * w + 2 * c + 1], fr = (x * a + y * b) / d, fi = (y * a - x * b) / d;
        if (fr || fi) for (let j = 2 * c; j < w; j += 2) { const p = T[c * w + j], q = T[c * w + j + 1]; T[i * w + j] -= fr * p - fi * q; T[i * w + j + 1] -= fr * q + fi * p; }
      }
    }
    let big = 0, size = 0;
    const u = F64(2 * n);
    for (let i = 0; i < n; i++) {
      const a = T[i * w + 2 * i], b = T[i * w + 2 * i + 1], x = T[i * w + 2 * n], y = T[i * w + 2 * n + 1], d = a * a + b * b;
      u[2 * i] = (x * a + y * b) / d; u[2 * i + 1] = (y * a - x * b) / d;
      if (hypot(u[2 * i], u[2 * i + 1]) > hypot(u[2 * big], u[2 * big + 1])) big = i;
    }
    const m = hypot(u[2 * big], u[2 * big + 1]), cr = u[2 * big] / m, ci = -u[2 * big + 1] / m;
    for (let i = 0; i < n; i++) { const x = u[2 * i] / m, y = u[2 * i + 1] / m; v[2 * i] = x * cr - y * ci; v[2 * i + 1] = x * ci + y * cr; size += v[2 * i] ** 2 + v[2 * i + 1] ** 2; }
    v = v.map((x) => x / sqrt(size));
  }
  return v;
};
const fourier = (x, n, s) => {            // interleaved complex numbers; halves while the length is even
  const y = F64(2 * n);
  if (n % 2 === 0) {
    const half = n / 2, [even, odd] = [0, 1].map((o) => { const z = F64(n); for (let i = 0; i < half; i++) { z[2 * i] = x[4 * i + 2 * o]; z[2 * i + 1] = x[4 * i + 2 * o + 1]; } return fourier(z, half, s); });
    for (let k = 0; k < half; k++) {
      const c = cos(2 * PI * k / n), d = s * sin(2 * PI * k / n), a = odd[2 * k] * c - odd[2 * k + 1] * d, b = odd[2 * k] * d + odd[2 * k + 1] * c;
      y[2 * k] = even[2 * k] + a; y[2 * k + 1] = even[2 * k + 1] + b; y[2 * k + n] = even[2 * k] - a; y[2 * k + n + 1] = even[2 * k + 1] - b;
    }
    return y;
  }
  for (let k = 0; k < n; k++) for (let j = 0; j < n; j++) {
    const t = 2 * PI * (j * k % n) / n, c = cos(t), d = s * sin(t);
    y[2 * k] += x[2 * j] * c - x[2 * j + 1] * d; y[2 * k + 1] += x[2 * j] * d + x[2 * j + 1] * c;
  }
  return y;
};
const BLOCK = {
  argmax: extreme((a, b) => a > b),
  argmin: extreme((a, b) => a < b),
  cummax: running((a, b) => a >= b),
  cummin: running((a, b) => a <= b),
  sort([values, index], [x], sizes, [descending]) {
    const order = Array.from(x, (_, i) => i).sort(descending ? (i, j) => ascending(x[j], x[i]) : (i, j) => ascending(x[i], x[j]));
    order.forEach((j, i) => { values[i] = x[j]; index[i] = j; });
  },
  searchsorted([out], [edges, x], sizes, [right]) {
    for (let i = 0; i < x.length; i++) {
      let low = 0, high = edges.length;
      while (low < high) { const m = (low + high) >> 1, v = edges[m]; if (right ? v > x[i] : v >= x[i]) high = m; else low = m + 1; }
      out[i] = low;
    }
  },
  lu([L, pivots], [A], [[n]]) {
    L.set(A);
    for (let c = 0; c < n; c++) {
      let p = c;
      for (let i = c + 1; i < n; i++) if (abs(L[i * n + c]) > abs(L[p * n + c])) p = i;
      pivots[c] = p + 1;
      if (p !== c) for (let j = 0; j < n; j++) [L[c * n + j], L[p * n + j]] = [L[p * n + j], L[c * n + j]];
      if (L[c * n + c] !== 0) for (let i = c + 1; i < n; i++) {
        const f = L[i * n + c] /= L[c * n + c];
        if (f) for (let j = c + 1; j < n; j++) L[i * n + j] -= f * L[c * n + j];
      }
    }
  },
  lu_solve([X], [L, pivots, B], [[n, m]], [adjoint]) {
    X.set(B);
    const swap = (c) => { const p = pivots[c] - 1; if (p !== c) for (let j = 0; j < m; j++) [X[c * m + j], X[p * m + j]] = [X[p * m + j], X[c * m + j]]; };
    const at = adjoint ? (i, k) => L[k * n + i] : (i, k) => L[i * n + k];
    const down = (unit) => { for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) { let s = X[i * m + j]; for (let k = 0; k < i; k++) s -= at(i, k) * X[k * m + j]; X[i * m + j] = unit ? s : s / at(i, i); } };
    const up = (unit) => { for (let i = n - 1; i >= 0; i--) for (let j = 0; j < m; j++) { let s = X[i * m + j]; for (let k = i + 1; k < n; k++) s -= at(i, k) * X[k * m + j]; X[i * m + j] = unit ? s : s / at(i, i); } };
    if (adjoint) { down(false); up(true); for (let c = n - 1; c >= 0; c--) swap(c); } else { for (let c = 0; c < n; c++) swap(c); down(true); up(false); }
  },
  cholesky([L], [A], [[n]]) {
    L.fill(0);
    for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) {
      let s = A[i * n + j];
      for (let k = 0; k < j; k++) s -= L[i * n + k] * L[j * n + k];
      L[i * n + j] = i === j ? sqrt(s) : s / L[j * n + j];
    }
  },
  eigh([values, vectors], [A], [[n]]) {   // cyclic Jacobi rotations
    const V = F64(n * n), B = A.slice();
    for (let i = 0; i < n; i++) V[i * n + i] = 1;
    for (let sweep = 0, off = 1; sweep < 60 && off > 0; sweep++) {
      off = 0;
      for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) {
        const b = B[p * n + q];
        if (abs(b) < 1e-300 || abs(b) < 2 ** -60 * sqrt(abs(B[p * n + p] * B[q * n + q]))) { B[p * n + q] = B[q * n + p] = 0; continue; }
        off += abs(b);
        const theta = (B[q * n + q] - B[p * n + p]) / (2 * b), t = (theta < 0 ? -1 : 1) / (abs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;
        for (let k = 0; k < n; k++) { const x = B[k * n + p], y = B[k * n + q]; B[k * n + p] = c * x - s * y; B[k * n + q] = s * x + c * y; }
        for (let k = 0; k < n; k++) { const x = B[p * n + k], y = B[q * n + k]; B[p * n + k] = c * x - s * y; B[q * n + k] = s * x + c * y; }
        for (let k = 0; k < n; k++) { const x = V[k * n + p], y = V[k * n + q]; V[k * n + p] = c * x - s * y; V[k * n + q] = s * x + c * y; }
      }
    }
    const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => B[i * n + i] - B[j * n + j]);
    order.forEach((j, i) => { values[i] = B[j * n + j]; for (let k = 0; k < n; k++) vectors[k * n + i] = V[k * n + j]; });
  },
  eig([values, vectors], [A], [[n]]) {
    const H = A.slice();
    hessenberg(H, n); spectrum(H, n, values);
    for (let j = 0; j < n; j++) { const v = eigenvector(A, n, values[2 * j], values[2 * j + 1]); for (let i = 0; i < n; i++) { vectors[2 * (i * n + j)] = v[2 * i]; vectors[2 * (i * n + j) + 1] = v[2 * i + 1]; } }
  },
  matrix_exp([E], [A], [[n]]) {           // scaling, Taylor, squaring
    let norm = 0;
    for (let i = 0; i < n; i++) { let s = 0; for (let j = 0; j < n; j++) s += abs(A[i * n + j]); if (!(s <= norm)) norm = s; }
    if (!(norm < Infinity)) { E.fill(NaN); return; }
    const halvings = max(0, Math.ceil(Math.log2(norm)) + 2), B = A.map((x) => x / 2 ** halvings);
    let term = F64(n * n), sum = F64(n * n);
    for (let i = 0; i < n; i++) term[i * n + i] = sum[i * n + i] = 1;
    for (let k = 1; k < 14; k++) { term = multiply(term, B, n).map((x) => x / k); sum = sum.map((x, i) => x + term[i]); }
    for (let k = 0; k < halvings; k++) sum = multiply(sum, sum, n);
    E.set(sum);
  },
  dft([y], [x], [[n]], [s]) { y.set(fourier(x, n, s)); },
  uniform([out], [seed], sizes, [stream]) {
    const key = hash((hash(seed[0] >>> 0) ^ stream) >>> 0);
    for (let i = 0; i < out.length; i++) out[i] = (hash((hash(i) ^ key) >>> 0) + .5) / 4294967296;
  },
};
