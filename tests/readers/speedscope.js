// Opens files with speedscope's own importers and prints, one JSON line a file, its profiles: name, total, unit.
// usage: NODE_PATH=FOLDER/node_modules node speedscope.js FILE...
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");
const release = path.join(path.dirname(require.resolve("speedscope/package.json")), "dist", "release");

function bundle(pattern) {
    return fs.readFileSync(path.join(release, fs.readdirSync(release).find((name) => pattern.test(name))), "utf8");
}

// The page's bundle defines the modules that the importers need; without its list of entries nothing of the page runs.
const page = bundle(/^speedscope\.[0-9a-f]+\.js$/).replace(/\},\[[^[\]]*\],\s*null\)/, "},[],null)");
const importers = bundle(/^import\.[0-9a-f]+\.js$/);
const context = vm.createContext({
    console: { log() {}, warn: console.warn, error: console.error, assert: console.assert },
    TextDecoder, Uint8Array, ArrayBuffer, DataView, setTimeout, require,
    window: {}, document: {}, self: {}, navigator: { userAgent: "" },
});
vm.runInContext("var parcelRequire;" + page, context);
vm.runInContext(importers, context);
const ids = [...importers.matchAll(/"([\w+/]{4})":\[function/g)].map((match) => match[1]);
const reader = vm.runInContext("parcelRequire", context)(ids[ids.length - 1]);

async function read(file) {
    const bytes = fs.readFileSync(file);
    const group = await reader.importProfilesFromArrayBuffer(
        path.basename(file), bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    if (!group) throw new Error(file + ": speedscope does not know this format");
    const frames = [];
    group.profiles[0].forEachFrame((frame) => frames.push(frame.name));
    const profiles = group.profiles.map((p) => ({ name: p.getName(), total: p.getTotalWeight(), unit: p.getWeightUnit() }));
    console.log(JSON.stringify({ file: path.basename(file), profiles, frames }));
}

(async () => {
    for (const file of process.argv.slice(2)) await read(file);
})().catch((error) => {
    console.error(error.stack);
    process.exit(1);
});
