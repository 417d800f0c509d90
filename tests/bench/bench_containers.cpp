// What C++ programs do with the heap: growing vectors, maps and hash maps of
// strings, lists, shared pointers, a queue of messages. A fixed amount of work;
// prints a sum that depends on all of it. bench_containers [SCALE]
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

std::uint64_t state = 42;

unsigned next_random(unsigned bound)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<unsigned>(state >> 33) % bound;
}

std::string name_of(unsigned number)
{
    return "entity/" + std::to_string(number) + std::string(number % 40, 'x');
}

std::uint64_t maps()
{
    std::map<unsigned, std::string> ordered;
    std::unordered_map<std::string, unsigned> hashed;
    for (unsigned i = 0; i < 60000; i++) {
        unsigned key = next_random(20000);
        ordered[key] = name_of(i);
        hashed[name_of(key)] += i;
        if (i % 3 == 0) {
            ordered.erase(next_random(20000));
            hashed.erase(name_of(next_random(20000)));
        }
    }
    return ordered.size() + hashed.size();
}

struct node {
    std::vector<std::shared_ptr<node>> children;
    std::string name;
    float matrix[16] = {};
};

std::uint64_t count(const node &tree)
{
    std::uint64_t sum = tree.name.size();
    for (const auto &child : tree.children) sum += count(*child);
    return sum;
}

std::uint64_t scene()
{
    std::vector<std::shared_ptr<node>> all{std::make_shared<node>()};
    for (unsigned i = 1; i < 20000; i++) {
        auto child = std::make_shared<node>();
        child->name = name_of(i);
        all[next_random(static_cast<unsigned>(all.size()))]->children.push_back(child);
        all.push_back(std::move(child));
    }
    return count(*all[0]);
}

std::uint64_t messages()
{
    std::deque<std::unique_ptr<std::vector<char>>> queue;
    std::list<std::string> log;
    std::uint64_t sum = 0;
    for (unsigned i = 0; i < 100000; i++) {
        queue.push_back(std::make_unique<std::vector<char>>(16 + next_random(500)));
        if (queue.size() > 200) {
            sum += queue.front()->size();
            queue.pop_front();
        }
        log.push_back(name_of(i));
        if (log.size() > 500) log.pop_front();
    }
    return sum + log.size();
}

} // namespace

int main(int argc, char **argv)
{
    unsigned scale = argc > 1 ? static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)) : 10;
    std::uint64_t sum = 0;
    for (unsigned i = 0; i < scale; i++) sum += maps() + scene() + messages();
    std::printf("%llu\n", static_cast<unsigned long long>(sum));
}
