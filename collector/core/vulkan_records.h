/*
 * What the fields of struct mt_object mean for each kind of record that the
 * Vulkan layer writes and the report reads. Integers only, as in the Vulkan
 * headers, so that neither the core nor the report needs those headers.
 */
#ifndef MT_VULKAN_RECORDS_H
#define MT_VULKAN_RECORDS_H

enum mt_vulkan_kind {
    /*
     * name: device name; text: driver name and version; owner: 0; handle: the newest VkDevice.
     * One record stands for all VkDevices of one physical device that followed each other in the
     * process (two that live at once have two): offset counts them. size_bytes: sparse binds
     * (VkSparseMemoryBind and VkSparseImageMemoryBind) seen. The destroy fields are about the newest.
     */
    MT_VK_DEVICE = 1,
    /* size_bytes: allocationSize; owner: device; heap: the memory type's heap row; name: debug name */
    MT_VK_MEMORY = 2,
    /* size_bytes: VkBufferCreateInfo.size; owner: device; link, offset: memory it is bound to */
    MT_VK_BUFFER = 3,
    /* size_bytes: size of its memory requirements, 0 until known; owner, link, offset as a buffer */
    MT_VK_IMAGE = 4,
    /* size_bytes: estimate (images x layers x extent x texel size, rows packed), 0 = format not known; owner:
       device; name */
    MT_VK_SWAPCHAIN = 5,
    /*
     * Pools of a device, made when they were asked for; owner: device; text: why they are on or off;
     * name: empty. Serves the next VkDevice of the same physical device too.
     */
    MT_VK_POOLS = 6,
    /*
     * One pool; owner: device; heap: the memory type's heap row; size_bytes: the most bytes of a chunk;
     * offset: bytes that sizes are rounded up to. Written under the pool's lock without seq. What
     * threads counted is in their parts.
     */
    MT_VK_POOL = 7,
    /* The rest of a pool's numbers; owner: device; link: its MT_VK_POOL */
    MT_VK_POOL_TIMES = 8,
    /*
     * An acceleration structure or a micromap. size_bytes: its size; owner: device; name; attr[] as a
     * resource's. KHR and EXT: link, offset: the buffer it lies in. NV: the memory it is bound to.
     */
    MT_VK_ACCEL = 9,
    /* size_bytes: all memory bound to it; owner: device; name */
    MT_VK_VIDEO_SESSION = 10,
    /*
     * One binding of a session, a resource as buffers and images are. size_bytes: of the binding;
     * handle: the session's; owner: device; link, offset: memory it is bound to
     */
    MT_VK_VIDEO_MEMORY = 11,
    /*
     * An attachment that was destroyed before its memory was freed: one of the newest MT_VK_PAST_MAX of
     * its device. size_bytes: what it covered; owner: device; link, handle, offset: of the memory it lay
     * in; create_frame: first frame; USAGE, ALIGNMENT, EXTENT and FORMAT as an image
     */
    MT_VK_PAST_IMAGE = 12,
    /* Host memory through VkAllocationCallbacks by command; name: the command; owner: 0; attr[] without seq */
    MT_VK_HOST_COMMAND = 13,
    /* VK_EXT_device_memory_report: one kind of object or one heap; owner: device; attr[] without seq */
    MT_VK_MEMORY_REPORT = 14,
    /*
     * What one thread counted in a pool, beside the pool's own record: attr[] as there, to be added word by
     * word; owner: device; link: the MT_VK_POOL. Written without seq. They go into the pool's own with the device.
     */
    MT_VK_POOL_PART = 15,
    MT_VK_POOL_TIMES_PART = 16,
    /*
     * A range of a sparse buffer or image that memory is bound to; attr[] as a resource's. size_bytes: of the
     * range; handle: the resource's; owner: device; link, offset: the memory it is bound to
     */
    MT_VK_SPARSE_RANGE = 17,
    /* A tensor (VK_ARM_tensors). size_bytes: of its memory requirements; the rest as an image */
    MT_VK_TENSOR = 18,
    /* A session of a data graph (VK_ARM_data_graph); everything as a video session, whose bindings it has too */
    MT_VK_GRAPH_SESSION = 19,
};

/* Indexes into attr[]. */
enum {
    MT_VK_DEVICE_API_VERSION = 0, /* VkPhysicalDeviceProperties.apiVersion */
    MT_VK_DEVICE_DRIVER_VERSION = 1,
    MT_VK_DEVICE_IDS = 2,        /* vendorID << 32 | deviceID */
    MT_VK_DEVICE_TYPE = 3,       /* VkPhysicalDeviceType */
    MT_VK_DEVICE_FLAGS = 4,      /* bits below */
    MT_VK_DEVICE_DESTROY_NS = 5, /* CLOCK_MONOTONIC; 0 while it lives */
    MT_VK_DEVICE_LIMITS = 6,     /* bufferImageGranularity << 32 | nonCoherentAtomSize */
    MT_VK_DEVICE_MAX_ALLOCATIONS = 7,
    MT_VK_DEVICE_DRIVER_ID = 8, /* VkDriverId, 0 unknown */
    MT_VK_DEVICE_LEAKED = 9,    /* memory objects alive at vkDestroyDevice: count << 0 */
    MT_VK_DEVICE_LEAKED_BYTES = 10,
    MT_VK_DEVICE_UNKNOWN_FREES = 11, /* handles freed or bound that the layer never saw */
};
enum {
    MT_VK_DEVICE_IN_PROCESS = 1 << 0, /* a software driver: device memory is the process's own */
    MT_VK_DEVICE_HAS_BUDGET = 1 << 1, /* VK_EXT_memory_budget can be asked */
    MT_VK_DEVICE_DESTROYED = 1 << 2,
};

enum {
    MT_VK_MEMORY_TYPE = 0,       /* memory type index */
    MT_VK_MEMORY_HEAP = 1,       /* memory heap index */
    MT_VK_MEMORY_PROPERTIES = 2, /* VkMemoryPropertyFlags */
    MT_VK_MEMORY_FLAGS = 3,      /* bits below; with OTHER_PNEXT the upper 32 bits are that VkStructureType */
    /* VkExternalMemoryHandleTypeFlagBits it was imported from; bit 32 set: the NV bits; bit 33: a kind without such
       bits */
    MT_VK_MEMORY_IMPORT_TYPE = 4,
    MT_VK_MEMORY_EXPORT_TYPES = 5,
    MT_VK_MEMORY_PRIORITY = 6, /* the float's bits, valid with HAS_PRIORITY */
    MT_VK_MEMORY_MAP_OFFSET = 7,
    MT_VK_MEMORY_MAP_BYTES = 8, /* 0 = not mapped */
    MT_VK_MEMORY_DEDICATED = 9, /* handle of the image or buffer it is dedicated to */
    MT_VK_MEMORY_BOUND = 10,    /* resources bound to it now: count */
    MT_VK_MEMORY_CALL_NS = 11,  /* duration of vkAllocateMemory below the layer */
};
enum {
    MT_VK_MEMORY_IS_DEDICATED = 1 << 0,
    MT_VK_MEMORY_IS_IMPORT = 1 << 1, /* not new memory: counted under the device's imports */
    MT_VK_MEMORY_IS_EXPORT = 1 << 2,
    MT_VK_MEMORY_IS_MAPPED = 1 << 3,
    MT_VK_MEMORY_HAS_PRIORITY = 1 << 4,
    MT_VK_MEMORY_HAS_ADDRESS = 1 << 5,     /* VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT */
    MT_VK_MEMORY_LEAKED = 1 << 6,          /* alive when its device was destroyed */
    MT_VK_MEMORY_FOR_BUFFER = 1 << 7,      /* dedicated to a buffer rather than an image */
    MT_VK_MEMORY_CAPTURE_REPLAY = 1 << 8,  /* with an opaque capture address, or made to have one */
    MT_VK_MEMORY_HAS_DEVICE_MASK = 1 << 9, /* for some devices of a group only */
    MT_VK_MEMORY_ZERO_INITIALIZE = 1 << 10,
    MT_VK_MEMORY_OTHER_PNEXT = 1 << 11, /* a pNext structure that the layer does not know */
    MT_VK_MEMORY_IS_SLICE = 1 << 12,    /* part of a chunk; no allocation of the driver's own */
    MT_VK_MEMORY_WAS_MAPPED = 1 << 13,  /* mapped now or at any time before */
    MT_VK_MEMORY_IS_SPARSE = 1 << 14,   /* a sparse bind has named it */
    MT_VK_MEMORY_SPARSE_UNKNOWN =
        1 << 15, /* and one of them could not be recorded: where it is used is not known */
};

enum {
    MT_VK_RESOURCE_USAGE = 0, /* VkBufferUsageFlags / VkImageUsageFlags */
    MT_VK_RESOURCE_CREATE_FLAGS = 1,
    MT_VK_RESOURCE_REQUIRED_BYTES =
        2, /* VkMemoryRequirements.size, 0 until known; disjoint images: sum of the planes asked for */
    MT_VK_RESOURCE_ALIGNMENT = 3,
    MT_VK_RESOURCE_TYPE_BITS = 4,
    MT_VK_RESOURCE_FLAGS = 5,   /* bits below */
    MT_VK_RESOURCE_BIND_NS = 6, /* CLOCK_MONOTONIC of the bind, 0 = unbound */
    /* images only */
    MT_VK_IMAGE_EXTENT = 7,       /* width | height << 32 */
    MT_VK_IMAGE_DEPTH_LAYERS = 8, /* depth | arrayLayers << 32 */
    MT_VK_IMAGE_MIPS_SAMPLES = 9, /* mipLevels | samples << 32 */
    MT_VK_IMAGE_FORMAT = 10,      /* VkFormat | VkImageTiling << 32 */
    MT_VK_IMAGE_TYPE = 11,        /* VkImageType */
};
enum {
    MT_VK_RESOURCE_BOUND = 1 << 0,
    MT_VK_RESOURCE_SPARSE = 1 << 1,
    MT_VK_RESOURCE_MEMORY_FREED = 1 << 2, /* its memory was freed before it; link is 0 then */
    MT_VK_RESOURCE_SWAPCHAIN = 1 << 3,    /* an image of a swapchain bound through bind info; link: the swapchain */
    MT_VK_RESOURCE_LEAKED = 1 << 4,       /* alive when its device was destroyed */
    MT_VK_RESOURCE_DISJOINT = 1 << 5,     /* planes bound apart; link is the last one */
};

enum {
    MT_VK_ACCEL_TYPE = 7,  /* VkAccelerationStructureTypeKHR, VkMicromapTypeEXT; NV: 0 top, 1 bottom */
    MT_VK_ACCEL_API = 8,   /* enum mt_vulkan_accel_api */
    MT_VK_ACCEL_BUFFER = 9 /* handle of the buffer, so that another one in its record's place is told apart */
};
enum mt_vulkan_accel_api { MT_VK_ACCEL_KHR = 0, MT_VK_ACCEL_NV = 1, MT_VK_ACCEL_MICROMAP = 2 };

enum {
    MT_VK_VIDEO_CODEC = 0, /* VkVideoCodecOperationFlagBitsKHR */
    MT_VK_VIDEO_CREATE_FLAGS = 1,
    MT_VK_VIDEO_BINDINGS = 2, /* memory bindings made so far */
    MT_VK_VIDEO_FORMATS = 3,  /* pictureFormat | referencePictureFormat << 32 */
    MT_VK_VIDEO_DPB = 4,      /* maxDpbSlots | maxActiveReferencePictures << 32 */
    MT_VK_VIDEO_FLAGS = 5,    /* MT_VK_RESOURCE_LEAKED */
    MT_VK_VIDEO_EXTENT = 7,   /* maxCodedExtent: width | height << 32 */
    /* of MT_VK_VIDEO_MEMORY */
    MT_VK_VIDEO_SESSION_ID = 7, /* the session's record */
    MT_VK_VIDEO_BIND_INDEX = 8, /* memoryBindIndex; of a data graph: bindPoint | objectIndex << 32 */
};

/* Of MT_VK_SPARSE_RANGE. */
enum {
    MT_VK_SPARSE_RESOURCE = 7, /* the resource's record */
    /*
     * Where in the resource: bytes from its start; with the METADATA bit in its metadata; with the BLOCKS bit in
     * the blocks of one mip level and layer, in the order x, y, z
     */
    MT_VK_SPARSE_START = 8,
    MT_VK_SPARSE_ASPECT = 9,       /* VkImageAspectFlagBits of blocks */
    MT_VK_SPARSE_BLOCK_BYTES = 10, /* of blocks */
};
#define MT_VK_SPARSE_BLOCKS   (UINT64_C(1) << 63)
#define MT_VK_SPARSE_METADATA (UINT64_C(1) << 62)
/* Fields of MT_VK_SPARSE_START: the device of a group, and for blocks the aspect's number, layer, level and byte.
 */
enum {
    MT_VK_SPARSE_DEVICE_SHIFT = 59,
    MT_VK_SPARSE_ASPECT_SHIFT = 57,
    MT_VK_SPARSE_LAYER_SHIFT = 45,
    MT_VK_SPARSE_LEVEL_SHIFT = 40,
};

enum { MT_VK_PAST_MAX = 512 };
enum {
    MT_VK_PAST_LAST_FRAME = 1,
    MT_VK_PAST_MEMORY_FLAGS = 2, /* MT_VK_MEMORY_* of the memory it lay in */
    MT_VK_PAST_MEMORY_TYPE = 4,
    MT_VK_PAST_MEMORY_NS = 5, /* create_ns of that memory's record: tells a later one in its place */
    MT_VK_PAST_END_NS = 6,    /* CLOCK_MONOTONIC, coarse */
};

enum {
    MT_VK_SWAPCHAIN_IMAGES = 0, /* image count, from vkGetSwapchainImagesKHR or the minimum asked */
    MT_VK_SWAPCHAIN_EXTENT = 1, /* width | height << 32 */
    MT_VK_SWAPCHAIN_FORMAT = 2,
    MT_VK_SWAPCHAIN_USAGE = 3,
    MT_VK_SWAPCHAIN_PRESENT_MODE = 4,
    MT_VK_SWAPCHAIN_LAYERS = 5,
    MT_VK_SWAPCHAIN_PRESENTS = 6, /* vkQueuePresentKHR that named it */
    MT_VK_SWAPCHAIN_RETIRED = 7,  /* 1: replaced through oldSwapchain, not destroyed yet */
    MT_VK_SWAPCHAIN_LEAKED = 8,   /* 1: alive when its device was destroyed */
};

/* How device memory is pooled: attr[MT_VK_POOLS_MODE]. */
enum mt_pool_mode { MT_POOL_OFF = 0, MT_POOL_ARENA = 1, MT_POOL_TLSF = 2, MT_POOL_VERIFY = 3 };

/* Why an allocation was passed to the driver; each has a counter at attr[MT_VK_POOLS_MISSES + reason]. */
enum mt_vulkan_pool_miss {
    MT_VK_POOL_HIT = 0,       /* not a miss; counts nothing */
    MT_VK_MISS_STRUCTURE = 1, /* a pNext structure that pools do not know to be harmless */
    MT_VK_MISS_DEDICATED = 2,
    MT_VK_MISS_EXTERNAL = 3, /* import or export */
    MT_VK_MISS_FLAGS = 4,    /* device mask, capture and replay, zero initialization */
    MT_VK_MISS_PRIORITY = 5,
    MT_VK_MISS_TYPE = 6,  /* a memory type that is not pooled */
    MT_VK_MISS_SIZE = 7,  /* larger than the limit */
    MT_VK_MISS_CHUNK = 8, /* the driver gave no chunk */
    MT_VK_MISS_BUSY = 9,  /* another thread was just making a chunk, or memtrack has no memory */
    MT_VK_MISS_COUNT
};
enum {
    MT_VK_POOLS_MODE = 0,
    MT_VK_POOLS_MISSES = 0,      /* + enum mt_vulkan_pool_miss from 1 */
    MT_VK_POOLS_VIOLATIONS = 10, /* rules that were found broken */
    MT_VK_POOLS_STALE = 11,      /* handles of slices used after vkFreeMemory */
};
enum {
    MT_VK_POOL_TYPE = 0, /* memory type | kind << 8 (0 device, 1 staging, 2 image) | device address << 16 */
    MT_VK_POOL_LIVE = 1, /* slices that the program holds */
    MT_VK_POOL_REQUESTED_BYTES = 2,
    MT_VK_POOL_SLICE_BYTES = 3, /* the same, rounded up: the difference is slack */
    MT_VK_POOL_CHUNKS = 4,
    MT_VK_POOL_CHUNK_BYTES = 5,
    MT_VK_POOL_PEAK_CHUNK_BYTES = 6,
    MT_VK_POOL_HITS = 7,          /* cumulative, as all that follow but RESTING_BYTES */
    MT_VK_POOL_CHUNK_CALLS = 8,   /* chunks allocated | freed << 32 */
    MT_VK_POOL_RESTING_BYTES = 9, /* freed by the program, not to be used again yet */
    MT_VK_POOL_CLEARED_BYTES = 10,
    MT_VK_POOL_UNCLEARED = 11, /* slices with bytes used before that the host cannot clear (tlsf) */
};
enum {
    MT_VK_POOL_TOTAL_BYTES = 0, /* requested, cumulative */
    MT_VK_POOL_FREES = 1,
    MT_VK_POOL_SHORT_RESTS = 2, /* slices used again early because too many bytes rested */
    MT_VK_POOL_HIT_NS = 3,      /* of the sampled hits; as is the next */
    MT_VK_POOL_HIT_SAMPLES = 4,
    MT_VK_POOL_FREE_NS = 5,
    MT_VK_POOL_FREE_SAMPLES = 6,
    MT_VK_POOL_PROBE_ALLOCATE_NS = 7, /* a small allocation of the driver's, measured when the pool was made */
    MT_VK_POOL_PROBE_FREE_NS = 8,
    MT_VK_POOL_CHUNK_NS = 9,      /* spent making and freeing chunks */
    MT_VK_POOL_LARGEST_FREE = 10, /* bytes, as of the newest chunk or frame */
    MT_VK_POOL_PROBES = 11,       /* driver calls made to measure */
};

enum {
    MT_VK_HOST_CURRENT_BYTES = 0,
    MT_VK_HOST_PEAK_BYTES = 1,
    MT_VK_HOST_TOTAL_BYTES = 2,
    MT_VK_HOST_ALLOCATIONS = 3,
    MT_VK_HOST_FREES = 4,
    MT_VK_HOST_INTERNAL_BYTES = 5, /* told by pfnInternalAllocation; cumulative */
    MT_VK_HOST_INTERNAL_COUNT = 6,
};

/* Whether a device's driver is asked for memory reports; at attr[MT_VK_DEVICE_FLAGS] >> MT_VK_DEVICE_REPORT_SHIFT.
 */
enum mt_vulkan_report_status {
    MT_VK_REPORT_OFF = 0,    /* by option */
    MT_VK_REPORT_ABSENT = 1, /* the driver does not have it */
    MT_VK_REPORT_ON = 2,
    MT_VK_REPORT_DISABLED = 3, /* the program names the feature and leaves it off */
    MT_VK_REPORT_REFUSED = 4,  /* the driver lists it and made no device with it */
};
enum { MT_VK_DEVICE_REPORT_SHIFT = 8 };
enum { MT_VK_REPORT_BY_OBJECT = 1, MT_VK_REPORT_BY_HEAP = 2 };
enum {
    /* BY_OBJECT << 32 | VkObjectType, or BY_HEAP << 32 | heap index | 1 << 8 where no VkDeviceMemory is meant */
    MT_VK_REPORT_KEY = 0,
    MT_VK_REPORT_CURRENT_BYTES = 1, /* without imports */
    MT_VK_REPORT_PEAK_BYTES = 2,
    MT_VK_REPORT_TOTAL_BYTES = 3,
    MT_VK_REPORT_ALLOCATIONS = 4,
    MT_VK_REPORT_FREES = 5,
    MT_VK_REPORT_IMPORTS = 6,
    MT_VK_REPORT_UNIMPORTS = 7,
    MT_VK_REPORT_IMPORTED_BYTES = 8,
    MT_VK_REPORT_FAILED = 9,
    MT_VK_REPORT_UNKNOWN = 10, /* frees of what was never reported */
    MT_VK_REPORT_LOST = 11,    /* never reported as freed before the device went */
};

/* Names of histograms that the layer registers (owner = device object), unit "ns". */
#define MT_VK_HISTOGRAM_ALLOCATE "vkAllocateMemory" /* followed by " type N" */
#define MT_VK_HISTOGRAM_FREE     "vkFreeMemory"     /* followed by " type N" */
#define MT_VK_HISTOGRAM_MAP      "vkMapMemory"      /* followed by " type N" */

#endif
