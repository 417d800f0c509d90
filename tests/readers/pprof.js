// Decodes a profile with pprof-format and prints what it holds as one JSON line. usage:
// NODE_PATH=FOLDER/node_modules node pprof.js FILE
"use strict";
const fs = require("fs");
const zlib = require("zlib");
const { Profile } = require("pprof-format");

const profile = Profile.decode(zlib.gunzipSync(fs.readFileSync(process.argv[2])));
const text = (index) => profile.stringTable.strings[Number(index)];
const locations = new Map(profile.location.map((location) => [Number(location.id), location]));
const functions = new Map(profile.function.map((f) => [Number(f.id), f]));
const mappings = new Set(profile.mapping.map((mapping) => Number(mapping.id)));
const names = new Set();
const sums = profile.sampleType.map(() => 0);
for (const sample of profile.sample) {
    sample.value.forEach((value, index) => { sums[index] += Number(value); });
    for (const id of sample.locationId) {
        const location = locations.get(Number(id));
        if (!location) throw new Error("no location " + id);
        if (Number(location.mappingId) && !mappings.has(Number(location.mappingId))) throw new Error("no mapping");
        for (const line of location.line) names.add(text(functions.get(Number(line.functionId)).name));
    }
}
console.log(JSON.stringify({
    types: profile.sampleType.map((type) => text(type.type) + "/" + text(type.unit)), sums,
    samples: profile.sample.length, names: [...names], files: profile.mapping.map((m) => text(m.filename)),
}));
