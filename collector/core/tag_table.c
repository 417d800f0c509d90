/*
 * The table of default tags, the patterns, and the decision for an origin. See tag_table.h.
 */
#include "tag_table.h"

#include "scope.h"
#include "tag_file.h"

#include <string.h>

/* Modules by what they are in a game, the first that fits. Names as distributions and engines ship them. */
static const struct {
    const char *tag, *patterns;
} default_modules[] = {
    {"",
     "libc.so* libc-*.so ld-linux* libm.so* libpthread* libdl.so* librt.so* libstdc++.so* libc++.so* libc++abi* "
     "libgcc_s* libgomp.so* libz.so* libzstd.so* liblz4.so* liblzma.so* libbz2.so* libmemtrack.so* libasan* "
     "linux-vdso* libglib-2.0* libgobject-2.0* libdl-*.so"},
    {"driver",
     "libvulkan_* libvulkan.so* libVkLayer_* libnvidia* libGLX* libGL.so* libGLES* libEGL* libGLdispatch* *_dri.so "
     "libgallium* libLLVM* libdrm* libamdvlk* libgbm* libglapi* libSPIRV* libvk_swiftshader* libnvoptix* "
     "libcuda* pipe_*.so libXvMC* libva*.so* libvdpau*"},
    {"audio", "libopenal* libpulse* libasound* libpipewire* libspa* libfmod* libFAudio* libSDL*_mixer* libvorbis* "
              "libopus* libmpg123* libfluidsynth* libsndfile* libAk* libwwise* libjack* libportaudio* libsoxr* "
              "libout123* libFLAC* libmodplug* libxmp*"},
    {"ui", "libgtk* libgdk* libQt*Widgets* libQt*Quick* libQt*Qml* libQt*Gui* libpango* libcairo* libharfbuzz* "
           "libfreetype* libfontconfig* libpixman* librsvg* libcef* libRmlUi* libImGui* libSDL*_ttf*"},
    {"window",
     "libX11* libxcb* libXi.so* libXrandr* libXcursor* libXext* libXfixes* libXrender* libwayland* libdecor* "
     "libxkbcommon* libSDL2-2* libSDL2.so* libSDL3* libSDL-1* libglfw* libQt*XcbQpa* libinput*"},
    {"script",
     "liblua* libluajit* libpython* libmono* libcoreclr* libclr* libhostfxr* libv8* libnode* libmozjs* "
     "libquickjs* libangelscript* libsquirrel* libjvm* libtcl* libruby* libguile* libperl* lua5* luajit* python3* "
     "node"},
    {"physics", "libbullet* libBullet* libLinearMath* libPhysX* libphysx* libJolt* libjolt* libbox2d* libchipmunk* "
                "libode.so*"},
    {"media",
     "libav*.so* libsw*.so* libpng* libjpeg* libturbojpeg* libwebp* libtiff* libtheora* libvpx* libaom* libdav1d* "
     "libx264* libx265* libgst* libbink* libSDL*_image* libogg*"},
    {"network",
     "libcurl* libssl* libcrypto* libgnutls* libnghttp* libenet* libsteam_api* steamclient* libuv.so* libdbus* "
     "libresolv* libnss_* libGalaxy* libEOSSDK*"},
    {"database", "libsqlite3* liblmdb* libleveldb* librocksdb* libpq*"},
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Of the bytes up to a space or the end. libc's strcspn() has tables of its own, far from what else is in use. */
static size_t length_of_word(const char *text)
{
    size_t length = 0;
    while (text[length] && text[length] != ' ') length++;
    return length;
}

static bool fits_list(const char *patterns, const char *name)
{
    char pattern[64];
    while (*patterns) {
        size_t length = length_of_word(patterns);
        if (length < sizeof pattern) {
            memcpy(pattern, patterns, length);
            pattern[length] = 0;
            if (mt_glob_matches(pattern, name)) return true;
        }
        patterns += length;
        while (*patterns == ' ') patterns++;
    }
    return false;
}

const char *mt_tag_table_of_module(const char *path)
{
    for (size_t i = 0; i < sizeof default_modules / sizeof *default_modules; i++)
        if (fits_list(default_modules[i].patterns, base_name(path))) return default_modules[i].tag;
    return NULL;
}

unsigned mt_tag_table_count(void)
{
    return sizeof default_modules / sizeof *default_modules;
}

/* ---- patterns --------------------------------------------------------------------------- */

/* Where a set ends, behind its ]; NULL when it has none: the [ then stands for itself. */
static const char *end_of_set(const char *set)
{
    const char *at = set + 1 + (set[1] == '!' || set[1] == '^');
    if (*at == ']') at++;
    while (*at && *at != ']') at++;
    return *at ? at + 1 : NULL;
}

static bool is_in_set(const char *set, const char *end, char letter)
{
    bool is_negated = set[1] == '!' || set[1] == '^', is_in = false;
    for (const char *at = set + 1 + is_negated; at < end - 1; at++) {
        if (at[1] == '-' && at + 2 < end - 1) {
            is_in |= at[0] <= letter && letter <= at[2];
            at += 2;
        } else {
            is_in |= *at == letter;
        }
    }
    return is_in != is_negated;
}

/* What stands behind one element of a pattern that fits the letter; NULL when it does not. */
static const char *fit_one(const char *pattern, char letter)
{
    const char *end = *pattern == '[' ? end_of_set(pattern) : NULL;
    if (end) return is_in_set(pattern, end, letter) ? end : NULL;
    if (*pattern == '?') return pattern + 1;
    if (*pattern == '\\' && pattern[1]) pattern++;
    return *pattern == letter ? pattern + 1 : NULL;
}

/* Without recursion: a mismatch goes back to the last star and lets it take one letter more. */
bool mt_glob_matches(const char *pattern, const char *text)
{
    const char *star = NULL, *taken = NULL, *next;
    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            taken = text;
        } else if (*pattern && (next = fit_one(pattern, *text))) {
            pattern = next;
            text++;
        } else if (star) {
            pattern = star;
            text = ++taken;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
}

/* ---- decisions ---------------------------------------------------------------------------- */

enum fit { FITS_NOT, FITS, DEPENDS };

static struct mt_tag_file rules; /* written at the start */

void mt_tag_table_start(struct mt_core *core)
{
    const char *path = core->options.text[MT_OPT_TAGS];
    if (path && *path && rules.state == MT_TAG_FILE_NONE) mt_tag_file_read(core, &rules, path);
}

static bool fits_module(const char *pattern, const char *path)
{
    return mt_glob_matches(pattern, strchr(pattern, '/') ? path : base_name(path));
}

static enum fit fits(const struct mt_tag_line *line, const char *module, const char *thread, const char *scope)
{
    const char *const *pattern = line->pattern;
    const char *tag = module ? mt_tag_table_of_module(module) : "";
    bool is_runtime = tag && !*tag; /* the module that counts stands further out */
    if (line->is_vulkan) return FITS_NOT;
    if (pattern[MT_LINE_THREAD] && !mt_glob_matches(pattern[MT_LINE_THREAD], thread)) return FITS_NOT;
    if (pattern[MT_LINE_SCOPE] && (!*scope || !mt_glob_matches(pattern[MT_LINE_SCOPE], scope))) return FITS_NOT;
    if (pattern[MT_LINE_MODULE] && !is_runtime && !fits_module(pattern[MT_LINE_MODULE], module)) return FITS_NOT;
    return pattern[MT_LINE_SYMBOL] || (pattern[MT_LINE_MODULE] && is_runtime) ? DEPENDS : FITS;
}

uint32_t mt_tag_table_find(struct mt_core *core, const char *module, const char *thread, const char *scope)
{
    if (rules.state == MT_TAG_FILE_STRANGE) return 0;
    for (unsigned i = 0; i < rules.count; i++) {
        enum fit fit = fits(&rules.lines[i], module, thread, scope);
        if (fit == DEPENDS) return 0;
        if (fit == FITS) return mt_scope_find_tag(core, rules.lines[i].tag);
    }
    const char *tag = module ? mt_tag_table_of_module(module) : "";
    if (!tag) tag = MT_TAG_ENGINE;
    return *tag ? mt_scope_find_tag(core, tag) : 0;
}
