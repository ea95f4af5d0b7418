/**
 * A source of one's own: an async generator of rows, here three schools that each practise other times tables. It could as well
 * read a database; whatever it yields is hashed, so that a resumed run notices when the rows have changed.
 *
 *   data: { source: own/times-tables.ts }
 */
import type { SourceFunction } from "fedtune";

const schools: Readonly<Record<string, readonly number[]>> = { hill: [2, 3, 4], lake: [5, 6], wood: [7, 8, 9] };

const source: SourceFunction = async function* () {
  for (const [school, tables] of Object.entries(schools)) {
    for (const table of tables) {
      for (let n = 1; n <= 20; n++) yield { school, question: `What is ${n} times ${table}?`, answer: `${n} times ${table} is ${n * table}.` };
    }
  }
};
export default source;
