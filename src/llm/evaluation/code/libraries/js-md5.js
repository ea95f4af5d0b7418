// Stand-in for the npm package js-md5: its function and the forms of its result, by Node's crypto.
const { createHash } = require("node:crypto");
const digest = (text) => createHash("md5").update(typeof text === "string" ? Buffer.from(text, "utf8") : Buffer.from(text));
const md5 = (text) => digest(text).digest("hex");
md5.hex = md5;
md5.base64 = (text) => digest(text).digest("base64");
md5.array = md5.digest = (text) => [...digest(text).digest()];
md5.arrayBuffer = (text) => new Uint8Array(digest(text).digest()).buffer;
module.exports = md5;
module.exports.md5 = md5;
