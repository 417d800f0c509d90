// Builds and draws DHAT's tree out of a file with the viewer that valgrind installs (dh_view.js), on a document that
// only keeps text. Prints its totals as one JSON line. usage: node dhat.js DH_VIEW_JS FILE
"use strict";
const fs = require("fs");
const vm = require("vm");

class Element {
    constructor(tag) {
        Object.assign(this, { tag, children: [], text: "", style: {}, className: "" });
        this.classList = { add() {}, remove() {}, contains: () => false, toggle() {} };
    }
    appendChild(child) { child.parentNode = this; this.children.push(child); return child; }
    removeChild(child) { this.children = this.children.filter((c) => c !== child); }
    get firstChild() { return this.children[0] || null; }
    get lastChild() { return this.children[this.children.length - 1] || null; }
    set textContent(text) { this.children = []; this.text = text; }
    get textContent() { return this.text + this.children.map((child) => child.textContent).join(""); }
    setAttribute() {}
    addEventListener() {}
    get options() { return this.children; }
    get childNodes() { return this.children; }
    get nextSibling() { return null; }
    append(child) { this.appendChild(child); }
    cloneNode() { return new Element(this.tag); }
    replaceChild(child, old) { this.children = this.children.map((c) => c === old ? child : c); }
}
const text = (content) => Object.assign(new Element("#text"), { text: content });
const context = vm.createContext({
    console, Intl, performance,
    document: { createElement: (tag) => new Element(tag), createTextNode: text, body: new Element("body"), title: "" },
    window: {}, alert: (message) => { throw new Error(message); }, location: { search: "" },
});
vm.runInContext(fs.readFileSync(process.argv[2], "utf8"), context);
context.input = fs.readFileSync(process.argv[3], "utf8");
context.Element = Element;
vm.runInContext(`
    for (let name of ["gMainDiv", "gTimingsDiv"]) document.body.appendChild(eval(name + " = new Element('div')"));
    gHeaderDiv = new Element("div"); gTestingDiv = new Element("div"); gLegendDiv = new Element("div");
    gFilename = "memtrack.dhat";
    gSelect = new Element("select");
    for (let [i, data] of gSelectData.entries()) {
        let option = new Element("option");
        option.textContent = data.label;
        gSelect.appendChild(option);
        if (data.isDefault) gSelect.selectedIndex = i;
    }
    gData = JSON.parse(input);
    buildTree();
    displayTree(0, 0, 0);
    var result = { bytes: gRoot._totalBytes, blocks: gRoot._totalBlocks, peak_bytes: gRoot._atTGmaxBytes,
               end_bytes: gRoot._atTEndBytes, drawn: gMainDiv.textContent };`, context);
console.log(JSON.stringify(context.result));
