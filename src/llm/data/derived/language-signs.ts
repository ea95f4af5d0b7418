/** What tells programming languages apart: how people name them, and what their code looks like. How signs are weighed up is language.ts. */

/** One language. */
export interface LanguageSigns {
  /** How an instruction names it, its libraries and tools. */
  readonly names: RegExp;
  /** Marks of its code, each with a weight: 8 is proof by itself, 1 a hint. */
  readonly marks: readonly (readonly [mark: RegExp, weight: number])[];
  /** Other code is often written about it, so that its name alone proves little. */
  readonly spokenOf?: true;
}

/** By name; of two with equal weights the earlier one is taken. */
export const LANGUAGES: Readonly<Record<string, LanguageSigns>> = {
  PHP: { names: /\b(PHP|Laravel|WordPress)\b/i, marks: [[/<\?php/, 12], [/^[ \t]*\$\w+\s*=[^=].*;/m, 4], [/\becho\b.*;/, 2], [/\$\w+->\w+/, 4]] },
  Shell: {
    names: /\b(bash|shell|zsh|(unix|linux|terminal) (command|script|shell)|command[- ]line (command|script)|sed|awk|grep)\b/i,
    marks: [[/^#!.*\b(ba|z|k|da)?sh\b/m, 12], [/^[ \t]*(fi|done|esac)\b/m, 6], [/\bif \[\[? .*\]\]?; then/, 6], [/\$\((?!["'#.]|document|this|function)/, 4], [/^[ \t]*echo ["$]/m, 3], [/\s\|\s*(grep|sort|wc|awk|sed|head|uniq|xargs)\b/, 4], [/^\$? ?(ls|cd|grep|find|chmod|mkdir|cp|mv|tar|sed|awk|sudo|curl|cat) [-~./\w'"*$]/m, 5]],
  },
  "C++": { names: /\bC\+\+|\bcpp\b/i, marks: [[/#include\s*<(iostream|vector|string|algorithm|map|unordered_\w+|set|queue|stack|fstream|sstream|numeric|cmath|memory|bits\/stdc\+\+\.h)>/, 9], [/\bstd::/, 8], [/\b(cout|cin)\s*(<<|>>)/, 8], [/\busing namespace std\b/, 9], [/\bvector<\w+>/, 4], [/\bclass \w+\s*\{[\s\S]*?\b(public|private):/, 6], [/^[ \t]*template\s*<(typename|class)/m, 7]] },
  C: { names: /\b(?<![-.'])C(?![+#\w'’-])(?=\s+(program|code|function|language|programming|script|struct|compiler|macro|method|snippet|source|library|array|string|pointer))|\b([Ii]n|[Uu]sing|with|of|to|into)( the)? C(?![+#\w'’-])(?=\s|[.,:;?!)]|$)/, marks: [[/#include\s*<(stdio|stdlib|string|math|ctype|stdbool|limits|time|unistd)\.h>/, 7], [/\bprintf\s*\("/, 3], [/\bscanf\s*\(/, 4], [/\b(char|int|float|double|void)\s*\*\s*\w+/, 3], [/\bmalloc\s*\(/, 4], [/\bint main\s*\((void)?\)/, 3], [/^(unsigned |long |static )*(int|void|char|float|double|bool) \w+\s*\([^)]*\)\s*\{/m, 4], [/\bstruct \w+\s*\{/, 4]] },
  "C#": { names: /\b(C#|C-?sharp|ASP\.NET|\.NET|LINQ|Unity)(?!\w)|(?<!\w)\.NET\b/i, marks: [[/\bConsole\.(Write|Read)/, 9], [/^[ \t]*using System\b/m, 9], [/\bnamespace \w+(\.\w+)*\s*\{/, 4], [/\bforeach\s*\(\s*(var|string|int|char|double|\w+) \w+ in\b/, 7], [/\b(public|private|static)\s+(static\s+)?(\w+(<\w+>)?(\[\])?)\s+[A-Z]\w*\s*\(/, 5], [/\{\s*get;\s*(private\s+)?set;\s*\}/, 9], [/\bstring\[\]|\bbool\b|\bstring \w+/, 2], [/\.(Length|Count|ToString\(\)|Select\(|Where\()/, 4]] },
  Java: { names: /\bJava\b(?!\s*-?script)|\b(Spring Boot|JavaFX|JUnit|JDBC)\b/i, marks: [[/\bSystem\.(out|in|err)\b/, 9], [/\bpublic static void main\s*\(String/, 9], [/^[ \t]*import javax?\./m, 9], [/\b(public|private|protected)\s+(static\s+)?(final\s+)?(abstract\s+)?(class|interface|enum|int|void|String|boolean|double|char|long|float|List<\w+>|int\[\]|String\[\])\s+[a-z]?\w*/, 4], [/\bpublic (static )?\w+(\[\])? [a-z]\w*\s*\(/, 5], [/\bString\b(\[\])? \w+/, 3], [/\.(length\(\)|charAt\(|equals\(|size\(\))/, 3], [/\bnew (ArrayList|HashMap|HashSet|Scanner|LinkedList)\b/, 7], [/@Override\b/, 7]] },
  Go: { names: /\bGolang\b|\bGo(?= (program|code|function|language|script|routine|method|struct|server))|\b([Ii]n|[Uu]sing|with|of|to|into) Go(?=[\s.,:;?!)]|$)(?! (to|through|from|over|back))/, marks: [[/^package \w+/m, 9], [/\bfunc (\(\w+ \*?\w+\) )?\w+\([^)]*\)\s*[\w*[\]()., ]*\{/, 5], [/\bfmt\.\w+/, 8], [/\w\s*:=\s/, 4]] },
  Rust: { names: /\bRust\b/, marks: [[/\bfn \w+(<[^>]*>)?\(/, 6], [/\bprintln!\(/, 8], [/\blet mut\b/, 6], [/\bimpl\b.*\{/, 3], [/&(mut |str\b)/, 3]] },
  Kotlin: { names: /\bKotlin\b/i, marks: [[/\bfun \w+\s*\(/, 6], [/\bval \w+(: \w+)? =/, 4], [/\bprintln\("/, 2]] },
  Swift: { names: /\bSwift(UI)?\b/, marks: [[/\bfunc \w+\([^)]*\)\s*(->\s*\S+\s*)?\{/, 5], [/\b(var|let) \w+\s*:\s*(Int|String|Double|Bool|\[)/, 6], [/^import (UIKit|SwiftUI|Foundation)/m, 9], [/\bguard let\b|\bif let\b/, 6]] },
  Scala: { names: /\bScala\b/, marks: [[/\bobject \w+( extends \w+)?\s*\{/, 6], [/\bdef \w+(\[\w+\])?\([^()]*\)\s*(:\s*\w+(\[\w+\])?)?\s*=/, 6], [/\bval \w+(: \w+)? =/, 3]] },
  TypeScript: { names: /\b(TypeScript|Angular)\b/i, marks: [[/\b(const|let|function)\b[^\n]*:\s*(string|number|boolean|any|void)\b/, 7], [/^[ \t]*(export )?(interface|type) \w+( =)?\s*\{/m, 6], [/\)\s*:\s*(string|number|boolean|void)(\[\])?\s*(=>|\{)/, 8]] },
  JavaScript: {
    names: /\b(Java\s?Scripts?|ECMAScript|ES6|Node\.?js|React(\.?js)?|React Native|Vue(\.?js)?|jQuery|Express(\.?js)?|D3(\.js)?|JS)\b/i,
    marks: [[/\bconsole\.(log|error)\b/, 8], [/\bdocument\.\w+/, 7], [/\bwindow\.\w+/, 4], [/\b(const|let)\s+[\w{[][^=\n]*=/, 5], [/\bvar\s+\w+\s*=/, 4], [/\bfunction\s*\w*\s*\([^)$]*\)\s*\{/, 5], [/=>/, 3], [/[!=]==/, 3], [/\$\(['"#.]|\$\((document|this|function)/, 6], [/\brequire\(['"]/, 4], [/\.(addEventListener|getElementById|querySelector)\b/, 8], [/\balert\(/, 4], [/^[ \t]*import .* from ['"]/m, 5], [/\/[^/\n]+\/[gimu]+[.;,)]/, 3]],
  },
  Ruby: { names: /\b(Ruby|Rails)\b/i, marks: [[/^[ \t]*end\s*$/m, 5], [/^[ \t]*puts\b/m, 5], [/\bdo \|\w+(, ?\w+)*\|/, 6], [/\{ ?\|\w+(, ?\w+)*\|/, 6], [/^[ \t]*def \w+[?!]?(\([^)]*\))?\s*$/m, 5], [/\.each\b/, 2], [/\battr_(accessor|reader)\b/, 8]] },
  Perl: { names: /\bPerl\b/i, marks: [[/\bmy [$@%]\w+/, 7], [/^use strict/m, 8], [/^#!.*perl/m, 12]] },
  R: { names: /\bR(?= (program|programming|code|script|function|language|command|package|studio))|\b([Ii]n|[Uu]sing) R(?=[\s.,:;?!)]|$)|\b(ggplot2?|dplyr|tidyverse)\b/, marks: [[/\w\s*<-\s*(function\b|c\(|data\.frame|read\.|\d)/, 7], [/\blibrary\(\w+\)/, 6], [/%>%/, 6]] },
  Haskell: { names: /\bHaskell\b/i, marks: [[/^\w+ :: .*->/m, 9]] },
  Julia: { names: /\bJulia\b(?= (program|code|function|script|language))|\b([Ii]n|[Uu]sing|to|into) Julia\b/, marks: [] },
  Lua: { names: /\bLua\b/, marks: [[/\blocal (function )?\w+/, 5]] },
  Dart: { names: /\b(Dart|Flutter)\b/, marks: [] },
  PowerShell: { names: /\bPowerShell\b/i, marks: [[/\b(Get|Set|New|Write|Remove)-[A-Z]\w+/, 8]] },
  MATLAB: { names: /\bMATLAB\b/i, marks: [[/^[ \t]*function\s+(\[?\w+\]?\s*=\s*)?\w+\(/m, 3], [/\bdisp\(/, 3]] },
  Python: {
    names: /\b(Python\d?|Pandas|NumPy|Django|Flask|TensorFlow|Keras|PyTorch|scikit-learn|sklearn|matplotlib|NLTK|BeautifulSoup|list comprehensions?)\b/i,
    marks: [[/^[ \t]*(async )?def \w+\s*\(.*\)\s*(->\s*[^:]+)?:/m, 9], [/^[ \t]*class \w+(\([\w., ]*\))?:/m, 8], [/^[ \t]*(import \w+(\.\w+)*( as \w+)?|from [\w.]+ import .+)\s*$/m, 6], [/^[ \t]*(for \w+(, ?\w+)* in .+|while .+|if .+|elif .+|else|try|except.*|with .+):\s*(#.*)?$/m, 6], [/\bself\.\w+/, 5], [/\[[^[\]]+ for \w+(, ?\w+)* in [^\]]+\]/, 7], [/\blambda \w+(, ?\w+)*:/, 5], [/^[ \t]*print\s*\(.*\)\s*(#.*)?$/m, 5], [/\w\[-?\w*:-?\w*(:-?\d+)?\]/, 5], [/\b(len|range|sorted|enumerate|zip|str|dict|sum)\(/, 2], [/^[ \t]*\w+ = [^;{]*[^;{\s]\s*(#.*)?$/m, 2], [/\b(None|True|False)\b/, 2], [/\bdel \w+\[/, 6], [/\bre\.(compile|sub|findall|match|search)\(/, 5]],
  },
  SQL: { names: /\b(SQL|MySQL|PostgreSQL|SQLite|T-SQL|PL\/SQL|Oracle (query|database))\b/i, spokenOf: true, marks: [[/\bSELECT\b[\s\S]+?\bFROM\b/, 8], [/^[ \t]*select\b[\s\S]+?\bfrom\b/im, 7], [/\b(INSERT INTO|DELETE FROM|CREATE (TABLE|DATABASE|INDEX|VIEW|PROCEDURE|TRIGGER)|ALTER TABLE|DROP TABLE|TRUNCATE TABLE)\b/i, 8], [/\bUPDATE\s+\S+\s+SET\b/i, 8]] },
  XML: { names: /\b(XML|XSLT|SVG)\b/i, spokenOf: true, marks: [[/^\s*<\?xml\b/, 12]] },
  HTML: { names: /\b(HTML5?|web ?page|Bootstrap)\b/i, spokenOf: true, marks: [[/<!DOCTYPE html|<html\b/i, 8], [/<(body|div|table|form|head|ul|ol|p|a|h[1-6]|input|button|img|select|nav|section|span|label|strong|b|i|iframe|video|audio|textarea|header|footer|title|meta|link|script|style|br|hr)\b[^<>]*>/i, 6]] },
  CSS: { names: /\b(CSS3?|Sass|SCSS|stylesheet)\b/i, spokenOf: true, marks: [[/^[ \t]*[.#@*a-zA-Z][^\n{};=()]*\{\s*[a-z-]+[ \t]*:[^;{}]+/m, 6], [/\b(color|margin|padding|font-\w+|background(-\w+)?|border(-\w+)?|display|text-align)\s*:\s*[^;{}]+;/, 4]] },
};
