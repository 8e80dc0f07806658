// Any text as a token, and any bytes behind its base64url: opened only if this cloud made it.
#include <sodium.h>

#include <cstdlib>
#include <filesystem>

#include "controlplane/api/token.h"

using namespace reprise;
using namespace reprise::api;

namespace {

const Keyring& keyring() {
  static const auto made = [] {
    std::string folder = std::filesystem::temp_directory_path() / "reprise-fuzz-XXXXXX";
    if (!mkdtemp(folder.data()) || !Keyring::create(folder + "/keyring", CloudId{1, 2})) std::abort();
    auto opened = Keyring::open(folder + "/keyring");
    std::filesystem::remove_all(folder);
    if (!opened) std::abort();
    return std::move(*opened);
  }();
  return *made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const TokenClaims claims{{1, 2}, {3, 4}, 1000, 900, 5000, {5, 6}, by_token};
  static const auto good = make_token(keyring(), claims);
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::string encoded(sodium_base64_ENCODED_LEN(size, sodium_base64_VARIANT_URLSAFE_NO_PADDING), '\0');
  sodium_bin2base64(encoded.data(), encoded.size(), data, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  encoded.pop_back();
  for (const auto& token : {text, encoded})
    if (open_token(keyring(), token, 2000)) std::abort();  // forged
  // A good one with the input's bytes put over it somewhere.
  if (size < 2) return 0;
  auto bent = good;
  for (std::size_t i = 1; i < size; ++i) bent[(data[0] + i) % bent.size()] = text[i];
  if (bent != good && open_token(keyring(), bent, 2000)) std::abort();
  return 0;
}
