// Arithmetic and words: what the counters of two instants say, and how a person reads it.

// The value below which the share q of a histogram lies, interpolated within its bucket as
// Prometheus does it; null where nothing was counted. Above the last bound, that bound is all
// there is to tell.
export function quantile(q, counts, bounds) {
  const total = sum(counts);
  if (!total) return null;
  const rank = q * total;
  let below = 0;
  for (let i = 0; i < bounds.length; i++) {
    if (counts[i] && below + counts[i] >= rank) {
      const low = i ? bounds[i - 1] : 0;
      return low + (bounds[i] - low) * ((rank - below) / counts[i]);
    }
    below += counts[i];
  }
  return bounds[bounds.length - 1];
}

export const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

export function addAll(rows) {
  const [first, ...rest] = rows;
  if (!first) return [];
  const total = [...first];
  for (const row of rest) row.forEach((count, i) => { total[i] += count; });
  return total;
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = (number) => whole.format(number);

export function rate(perSecond) {
  if (perSecond === null) return "–";
  return perSecond < 9.95 && perSecond !== 0 ? tenths.format(perSecond) : whole.format(perSecond);
}

export function share(part, all) {
  if (!all) return "–";
  const percent = (100 * part) / all;
  if (percent > 0 && percent < 0.1) return "under 0.1 %";
  return `${percent < 10 && percent > 0 ? tenths.format(percent) : whole.format(percent)} %`;
}

export function seconds(value) {
  if (value === null) return "–";
  const ms = value * 1000;
  if (ms === 0) return "0 ms";
  if (ms < 0.995) return `${ms.toFixed(2)} ms`;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  return value < 9.95 ? `${value.toFixed(1)} s` : `${value.toFixed(0)} s`;
}

// How long something has been so, in the two largest units.
export function span(value) {
  const total = Math.max(0, Math.round(value));
  if (total < 100) return `${total} s`;
  const minutes = Math.floor(total / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const clockOf = (options) => new Intl.DateTimeFormat("en-GB", { hour12: false, ...options });
const fullClock = clockOf({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const shortClock = clockOf({ hour: "2-digit", minute: "2-digit" });

export const clock = (epoch) => fullClock.format(epoch * 1000);
export const minute = (epoch) => shortClock.format(epoch * 1000);
export function utc(epoch) {
  const date = new Date(epoch * 1000);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().replace("T", " ").replace("Z", " UTC");
}

// A round number at or above the given one, for the top of an axis.
export function ceiling(value) {
  if (!(value > 0)) return 0;
  const unit = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 4, 5, 10]) if (value <= step * unit * 1.0001) return step * unit;
  return 10 * unit;
}
