// Gives the compiler enough to do: containers, algorithms and a recursive template.
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

template <int N> struct Level {
    static int run(std::map<int, std::vector<std::string>> &table)
    {
        table[N].push_back(std::to_string(N));
        auto shared = std::make_shared<std::vector<std::function<int(int)>>>();
        shared->push_back([](int value) { return value + N; });
        return shared->front()(Level<N - 1>::run(table));
    }
};
template <> struct Level<0> {
    static int run(std::map<int, std::vector<std::string>> &table) { return static_cast<int>(table.size()); }
};

int main()
{
    std::map<int, std::vector<std::string>> table;
    return Level<12>::run(table) != 90;
}
