# memtrack: one Makefile, not recursive. `make help` lists the targets.

VERSION := 0.1.0
PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR      ?= $(PREFIX)/bin
LIBDIR      ?= $(PREFIX)/lib
INCLUDEDIR  ?= $(PREFIX)/include
DATADIR     ?= $(PREFIX)/share
MANDIR      ?= $(DATADIR)/man
COMPLETIONDIR ?= $(DATADIR)/bash-completion/completions

# TRACKING=0: the pools without their counting, to measure what that costs. Not to be installed.
TRACKING ?= 1
BUILD ?= $(if $(filter 0,$(TRACKING)),build-untracked,build)
CC    ?= gcc
V     ?= 0
ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
else
Q :=
say = @:
endif

WARNINGS := -Wall -Wextra -Wshadow -Wundef -Wstrict-prototypes -Wmissing-prototypes -Wvla
OPTIMISE ?= -O2 -g
CFLAGS   ?=
# What every object needs; CFLAGS from outside comes last.
BASE_CFLAGS := -std=c11 -D_GNU_SOURCE $(WARNINGS) $(OPTIMISE) -fno-strict-aliasing -fvisibility=hidden \
               -DMT_VERSION='"$(VERSION)"' -Icollector/core -Icollector -I. -MMD -MP
BASE_CFLAGS += $(if $(filter 0,$(TRACKING)),-DMT_TRACKING=0)
# What is loaded into a game: no PLT for its own calls, unwind tables so that C++ exceptions pass.
INJECT_CFLAGS := -fPIC -fexceptions -fno-omit-frame-pointer -fno-builtin-malloc -fno-builtin-calloc \
                 -fno-builtin-realloc -fno-builtin-free -ffunction-sections -fdata-sections
# One segment for code and constants, in the order of collector/injected.ld, without what nothing uses.
INJECT_LDFLAGS := -shared -Wl,-z,nodelete -Wl,-z,now -Wl,-z,relro -Wl,--no-undefined -Wl,--as-needed \
                  -Wl,--gc-sections -Wl,-z,noseparate-code -Wl,-T,collector/injected.ld

CORE_SRC    := $(wildcard collector/core/*.c)
PRELOAD_SRC := $(wildcard interpose/*.c interpose/pools/*.c)
PRELOAD_ASM := $(wildcard interpose/*.S)
LAYER_SRC   := $(wildcard vklayer/*.c)
COMMAND_SRC := $(wildcard collector/report/*.c collector/command/*.c)

COMMAND_PACKAGES := jansson libdw libelf
COMMAND_CFLAGS = $(shell pkg-config --cflags $(COMMAND_PACKAGES))
COMMAND_LIBS   = $(shell pkg-config --libs $(COMMAND_PACKAGES))

core_pic_obj := $(CORE_SRC:%.c=$(BUILD)/pic/%.o)
preload_obj  := $(PRELOAD_SRC:%.c=$(BUILD)/pic/%.o) $(PRELOAD_ASM:%.S=$(BUILD)/pic/%.o)
layer_obj    := $(LAYER_SRC:%.c=$(BUILD)/pic/%.o)
core_obj     := $(CORE_SRC:%.c=$(BUILD)/obj/%.o)
command_obj  := $(COMMAND_SRC:%.c=$(BUILD)/obj/%.o)

.PHONY: all help check check-unit check-asan check-tsan check-gpu bench format lint docs install uninstall clean
all: $(BUILD)/libmemtrack.so $(BUILD)/libVkLayer_memtrack.so $(BUILD)/memtrack $(BUILD)/manifests ## build the two libraries, the command and the layer's manifests

$(BUILD)/libmemtrack.so: $(core_pic_obj) $(preload_obj) interpose/libmemtrack.map collector/injected.ld
	$(call say,LINK,$@)
	$(Q)$(CC) $(INJECT_LDFLAGS) $(LDFLAGS) -Wl,--version-script=interpose/libmemtrack.map -Wl,-soname,libmemtrack.so -o $@ $(core_pic_obj) $(preload_obj)

$(BUILD)/libVkLayer_memtrack.so: $(core_pic_obj) $(layer_obj) vklayer/libVkLayer_memtrack.map collector/injected.ld
	$(call say,LINK,$@)
	$(Q)$(CC) $(INJECT_LDFLAGS) $(LDFLAGS) -Wl,--version-script=vklayer/libVkLayer_memtrack.map -Wl,-soname,libVkLayer_memtrack.so -o $@ $(core_pic_obj) $(layer_obj)

$(BUILD)/memtrack: $(core_obj) $(command_obj)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(COMMAND_LIBS) -lm

# The hooks on the allocation path: a frame of their own would be a tenth of their cost.
$(BUILD)/pic/interpose/malloc.o $(BUILD)/pic/interpose/cxx.o: INJECT_CFLAGS += -fomit-frame-pointer

$(BUILD)/pic/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE_CFLAGS) $(INJECT_CFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/pic/%.o: %.S
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$(Q)$(CC) $(BASE_CFLAGS) $(INJECT_CFLAGS) $(CFLAGS) -c -o $@ $<

# A damaged segment may hold any numbers: what is worked out of them is modulo 2^64.
$(command_obj): COMMAND_CFLAGS += -fwrapv

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE_CFLAGS) $(COMMAND_CFLAGS) $(CFLAGS) -c -o $@ $<

# Manifests for a build that is not installed: absolute path of the library.
# implicit_layer.d is found through XDG_DATA_HOME=$(BUILD)/manifests, explicit_layer.d through VK_LAYER_PATH.
$(BUILD)/manifests: VkLayer_memtrack.json Makefile
	$(call say,GEN,$@)
	$(Q)mkdir -p $@/vulkan/implicit_layer.d $@/vulkan/explicit_layer.d
	$(Q)sed -e 's|@LIBRARY_PATH@|$(abspath $(BUILD))/libVkLayer_memtrack.so|' $< > $@/vulkan/implicit_layer.d/VkLayer_memtrack.json
	$(Q)sed -e 's|@LIBRARY_PATH@|$(abspath $(BUILD))/libVkLayer_memtrack.so|' -e '/_environment"/d' -e 's|\("description".*\),$$|\1|' $< > $@/vulkan/explicit_layer.d/VkLayer_memtrack.json
	$(Q)touch $@

include tests/tests.mk

# What memtrack.h declares for programs; each name leads to its manual page.
API_NAMES := MEMTRACK_TAG $(addprefix memtrack_,push_tag pop_tag set_budget mark_frame is_tracking query_all query_tag query_device_heap)

install: all ## install under DESTDIR/PREFIX
	$(if $(filter 0,$(TRACKING)),$(error a build without tracking is not to be installed))
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR) $(DESTDIR)$(DATADIR)/vulkan/implicit_layer.d $(DESTDIR)$(DATADIR)/vulkan/explicit_layer.d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man3 $(DESTDIR)$(COMPLETIONDIR) $(DESTDIR)$(DATADIR)/doc/memtrack $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 755 $(BUILD)/memtrack $(DESTDIR)$(BINDIR)/memtrack
	install -m 755 $(BUILD)/libmemtrack.so $(BUILD)/libVkLayer_memtrack.so $(DESTDIR)$(LIBDIR)/
	sed -e 's|@LIBRARY_PATH@|$(LIBDIR)/libVkLayer_memtrack.so|' VkLayer_memtrack.json > $(DESTDIR)$(DATADIR)/vulkan/implicit_layer.d/VkLayer_memtrack.json
	sed -e 's|@LIBRARY_PATH@|$(LIBDIR)/libVkLayer_memtrack.so|' -e '/_environment"/d' -e 's|\("description".*\),$$|\1|' VkLayer_memtrack.json > $(DESTDIR)$(DATADIR)/vulkan/explicit_layer.d/VkLayer_memtrack.json
	install -m 644 man/memtrack.1 $(DESTDIR)$(MANDIR)/man1/
	install -m 644 man/memtrack.h.3 $(DESTDIR)$(MANDIR)/man3/
	for name in $(API_NAMES); do printf '.so man3/memtrack.h.3\n' > $(DESTDIR)$(MANDIR)/man3/$$name.3; done
	install -m 644 include/memtrack.h $(DESTDIR)$(INCLUDEDIR)/
	sed -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' -e 's|@VERSION@|$(VERSION)|' memtrack.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/memtrack.pc
	install -m 644 scripts/memtrack.bash $(DESTDIR)$(COMPLETIONDIR)/memtrack
	install -m 644 README.md CHANGELOG.md LICENSE docs/*.md docs/*.json $(DESTDIR)$(DATADIR)/doc/memtrack/

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(BINDIR)/memtrack $(DESTDIR)$(LIBDIR)/libmemtrack.so $(DESTDIR)$(LIBDIR)/libVkLayer_memtrack.so
	rm -f $(DESTDIR)$(DATADIR)/vulkan/implicit_layer.d/VkLayer_memtrack.json $(DESTDIR)$(DATADIR)/vulkan/explicit_layer.d/VkLayer_memtrack.json
	rm -f $(DESTDIR)$(MANDIR)/man3/memtrack.h.3 $(patsubst %,$(DESTDIR)$(MANDIR)/man3/%.3,$(API_NAMES))
	rm -f $(DESTDIR)$(INCLUDEDIR)/memtrack.h $(DESTDIR)$(LIBDIR)/pkgconfig/memtrack.pc
	rm -f $(DESTDIR)$(MANDIR)/man1/memtrack.1 $(DESTDIR)$(COMPLETIONDIR)/memtrack
	rm -rf $(DESTDIR)$(DATADIR)/doc/memtrack

clean: ## remove the build folder
	rm -rf $(BUILD)

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -e 's/:.*##/\t/' | sort | awk -F'\t' '{printf "  %-12s %s\n", $$1, $$2}'

-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)
