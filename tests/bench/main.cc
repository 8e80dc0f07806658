// reprise_bench DIR [NAME…]: the benchmarks that need no running server. DIR is scratch space.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "tests/bench/bench.h"

namespace reprise::bench {

double seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void print(const Figure& figure) {
  const double ratio = figure.limit ? (figure.lower_is_better ? figure.limit / figure.value : figure.value / figure.limit) : 0;
  std::string holds = "null";
  if (figure.goal) {
    const bool held = figure.limit ? ratio >= figure.goal : figure.lower_is_better ? figure.value <= figure.goal : figure.value >= figure.goal;
    holds = held ? "true" : "false";
  }
  const auto number = [](double value) { return value ? fmt::format("{:.4g}", value) : std::string("null"); };
  fmt::print("{{\"name\":\"{}\",\"value\":{},\"unit\":\"{}\",\"limit\":{},\"ratio\":{},\"goal\":{},\"holds\":{}}}\n", figure.name,
             number(figure.value), figure.unit, number(figure.limit), number(ratio), number(figure.goal), holds);
  std::fflush(stdout);
}

}  // namespace reprise::bench

int main(int argc, char** argv) {
  using namespace reprise::bench;
  if (argc < 2 || std::string(argv[1]) == "--help") {
    std::puts("reprise_bench DIR [fold] [placement] [decided]");
    return argc < 2 ? 2 : 0;
  }
  const std::string dir = argv[1];
  const auto wanted = [&](const char* name) {
    return argc == 2 || std::any_of(argv + 2, argv + argc, [&](const char* word) { return std::string(word) == name; });
  };
  if (wanted("fold")) fold(dir);
  if (wanted("placement")) placement();
  if (wanted("decided")) decided(dir);
}
