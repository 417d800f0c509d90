/*
 * The same in C++: a tag ends with its block, also by an exception; and its
 * object can be a member. Prints nothing.
 */
#include "tags.h"

#include <stdexcept>
#include <string>

namespace
{
struct Loader {
    memtrack::tag tag{"loading"};
    void run() { keep(LOADING, LOADING_BYTES, 0); }
};

void throw_inside()
{
    MEMTRACK_TAG("textures");
    keep(TEXTURES, TEXTURES_BYTES, TEXTURES_FREED);
    throw std::runtime_error("out of textures");
}
} // namespace

int main()
{
    {
        Loader loader;
        loader.run();
        try {
            throw_inside();
        } catch (const std::exception &) {
        }
        keep(LARGE, LARGE_BYTES, 0);
    }
    MEMTRACK_TAG((std::string("level ") + "17").c_str());
    keep(5, 1100, 0);
    MEMTRACK_TAG("same block, another tag");
    keep(6, 1100, 0);
    return 0;
}
