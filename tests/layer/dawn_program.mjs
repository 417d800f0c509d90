// A WebGPU program without a window, on Dawn: many buffers and textures, a triangle drawn into a
// texture in each frame, a compute pass, everything read back. Prints a hash of all that came back.
//   node dawn_program.mjs DIRECTORY-WITH-node_modules FRAMES
import { createHash } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [, , directory, frames] = process.argv;
const { create, globals } = await import(pathToFileURL(`${directory}/node_modules/webgpu/index.js`).href);
Object.assign(globalThis, globals);
const gpu = create(['backend=vulkan']);
const adapter = await gpu.requestAdapter();
if (!adapter) {
    console.log('no adapter');
    process.exit(77);
}
const device = await adapter.requestDevice();
device.lost.then((info) => { if (info.reason !== 'destroyed') console.log(`lost: ${info.message}`); });
const hash = createHash('sha256');
const SIZE = 256;

const drawing = device.createShaderModule({ code: `
@vertex fn corner(@builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
    let at = array(vec2f(-0.9, -0.9), vec2f(0.9, -0.9), vec2f(0.0, 0.9));
    return vec4f(at[i], 0.0, 1.0);
}
@group(0) @binding(0) var<uniform> tint: vec4f;
@fragment fn colour(@builtin(position) at: vec4f) -> @location(0) vec4f {
    return vec4f(at.x / 256.0, at.y / 256.0, 0.5, 1.0) * tint;
}` });
const pipeline = device.createRenderPipeline({
    layout: 'auto',
    vertex: { module: drawing, entryPoint: 'corner' },
    fragment: { module: drawing, entryPoint: 'colour', targets: [{ format: 'rgba8unorm' }] },
});
const squares = device.createComputePipeline({
    layout: 'auto',
    compute: { entryPoint: 'main', module: device.createShaderModule({ code: `
@group(0) @binding(0) var<storage, read_write> numbers: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
    numbers[id.x] = numbers[id.x] * numbers[id.x];
}` }) },
});

async function read(buffer) {
    await buffer.mapAsync(GPUMapMode.READ);
    hash.update(new Uint8Array(buffer.getMappedRange()));
    buffer.unmap();
    buffer.destroy();
}

function render(encoder, frame) {
    const target = device.createTexture({
        size: [SIZE, SIZE], format: 'rgba8unorm', usage: GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.COPY_SRC,
    });
    const tint = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    device.queue.writeBuffer(tint, 0, new Float32Array([1, frame / frames, 0.25, 1]));
    const pass = encoder.beginRenderPass({
        colorAttachments: [{ view: target.createView(), loadOp: 'clear', storeOp: 'store', clearValue: [0, 0, 0, 1] }],
    });
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer: tint } }],
    }));
    pass.draw(3);
    pass.end();
    const back = device.createBuffer({ size: SIZE * SIZE * 4, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    encoder.copyTextureToBuffer({ texture: target }, { buffer: back, bytesPerRow: SIZE * 4 }, [SIZE, SIZE]);
    return { back, gone: [target, tint] };
}

function compute(encoder, frame) {
    const bytes = 4096 << (frame % 8);
    const numbers = device.createBuffer({
        size: bytes, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC, mappedAtCreation: true,
    });
    new Uint32Array(numbers.getMappedRange()).forEach((_, i, all) => { all[i] = i + frame; });
    numbers.unmap();
    const pass = encoder.beginComputePass();
    pass.setPipeline(squares);
    pass.setBindGroup(0, device.createBindGroup({
        layout: squares.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer: numbers } }],
    }));
    pass.dispatchWorkgroups(bytes / 256);
    pass.end();
    const back = device.createBuffer({ size: bytes, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    encoder.copyBufferToBuffer(numbers, 0, back, 0, bytes);
    return { back, gone: [numbers] };
}

for (let frame = 0; frame < Number(frames); frame++) {
    const encoder = device.createCommandEncoder();
    const parts = [render(encoder, frame), compute(encoder, frame)];
    device.queue.submit([encoder.finish()]);
    for (const part of parts) {
        await read(part.back);
        part.gone.forEach((one) => one.destroy());
    }
}
console.log(hash.digest('hex'));
device.destroy();
