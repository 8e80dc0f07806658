// Runs a fuzz target where there is no libFuzzer: every file of the corpora as it is, then changed at random.
//   TARGET [-runs=N] [-seed=S] CORPUS…
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/sim/prng.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void run(const std::string& input) {
  // Of exactly that size, so that a sanitizer sees what reads beyond it.
  const std::vector<std::uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

void change(std::string& text, reprise::sim::Prng& prng, const std::vector<std::string>& others) {
  const auto at = prng.below(text.size() + 1);
  switch (prng.below(5)) {
    case 0:
      if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << prng.below(8)));
      return;
    case 1:
      if (at < text.size()) text[at] = static_cast<char>(prng.next());
      return;
    case 2:
      text.erase(at, 1 + prng.below(8));
      return;
    case 3:
      text.insert(at, 1 + prng.below(8), static_cast<char>(prng.next()));
      return;
    default:
      const auto& other = others[prng.below(others.size())];
      const auto from = prng.below(other.size() + 1);
      text.replace(at, prng.below(20), other.substr(from, prng.below(60)));
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t runs = 0, seed = 1, done = 0;
  std::vector<std::string> corpus;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("-runs=")) runs = std::stoull(word.substr(6));
    else if (word.starts_with("-seed=")) seed = std::stoull(word.substr(6));
    else if (word.starts_with("-")) continue;  // libFuzzer's
    else
      for (const auto& file : std::filesystem::directory_iterator(word)) {
        std::ifstream stream(file.path(), std::ios::binary);
        corpus.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
      }
  }
  if (corpus.empty()) return std::fprintf(stderr, "there is nothing in the corpus\n"), 1;
  for (const auto& input : corpus) run(input), ++done;
  reprise::sim::Prng prng(seed);
  while (done < runs) {
    auto input = corpus[prng.below(corpus.size())];
    for (auto n = 1 + prng.below(5); n > 0; --n) change(input, prng, corpus);
    run(input), ++done;
  }
  std::printf("%llu inputs\n", static_cast<unsigned long long>(done));
}
