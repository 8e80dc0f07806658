#include <random>
#include <set>

#include "controlplane/api/image_format.h"
#include "tests/unit/api_catch.h"
#include "tests/unit/image_samples.h"

using namespace reprise;
using namespace reprise::api;
using namespace reprise::testing;

namespace {

Result<std::uint64_t> check(std::string_view format, std::string_view bytes, std::size_t piece = 65536) {
  ImageCheck image(format);
  for (std::size_t at = 0; at < bytes.size(); at += piece)
    if (auto status = image.feed(bytes.substr(at, piece)); !status) return status.error();
  return image.finish();
}

}  // namespace

TEST_CASE("image formats: what is right is let through, however it is cut up") {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{511}, std::size_t{1} << 20}) {
    CHECK(*check("qcow2", qcow2(3), piece) == 1 << 30);
    CHECK(*check("qcow2", qcow2(2), piece) == 1 << 30);
    CHECK(*check("vmdk", vmdk(), piece) == 1 << 20);
    CHECK(*check("vdi", vdi(), piece) == 1 << 20);
    CHECK(*check("vhd", vhd(), piece) == 4096);
    CHECK(*check("iso", iso(), piece) == 40960);
    CHECK(*check("raw", std::string(1000, 'x'), piece) == 1000);
    CHECK(*check("aki", "kernel", piece) == 6);
  }
}

TEST_CASE("image formats: what is something else is refused, and named") {
  CHECK(check("qcow2", vmdk()).error().text.find("not qcow2 but vmdk") != std::string::npos);
  CHECK(check("vmdk", qcow2()).error().text.find("not vmdk but qcow2") != std::string::npos);
  CHECK(check("iso", qcow2()).error().text.find("not iso but qcow2") != std::string::npos);
  CHECK(check("vdi", std::string(1000, 'x')).error().text.find("not vdi") != std::string::npos);
  CHECK(check("vhd", std::string(1000, 'x')).error().text.find("not vhd") != std::string::npos);
  for (const auto* format : {"raw", "qcow2", "vmdk", "vdi", "vhd", "iso", "ami", "aki", "ari"})
    CHECK_FALSE(check(format, "").ok());
  ImageCheck early("qcow2");
  Status status;
  std::size_t fed = 0;
  while (status.ok() && fed < 10 << 20) status = early.feed(std::string(4096, 'x')), fed += 4096;
  CHECK(fed == 128 * 1024);
}

// A sample of everything that is uploaded by mistake, under every format that can be claimed.
TEST_CASE("image formats: no bytes pass for another format than theirs") {
  auto dynamic_vhd = vhd().substr(4096, 512) + vhd();
  put_big(dynamic_vhd, 60, 3, 4);
  put_big(dynamic_vhd, dynamic_vhd.size() - 512 + 60, 3, 4);
  auto disk = std::string(64 * 1024, '\0');  // with a boot sector
  disk.replace(510, 2, "\x55\xaa");
  auto hybrid = iso();
  hybrid.replace(510, 2, "\x55\xaa");
  auto hidden = iso();  // a disk in the room that an ISO 9660 leaves at its begin
  hidden.replace(0, 32768, qcow2(), 0, 32768);
  const auto packed = [](std::string_view magic) { return std::string(magic) + std::string(4096, 'z'); };
  struct Sample {
    const char* what;
    std::string bytes;
    std::set<std::string> passes;  // for these alone
    const char* named;             // in the refusal
  };
  const Sample samples[] = {
      {"qcow2 v3", qcow2(3), {"qcow2"}, "qcow2"},
      {"qcow2 v2", qcow2(2), {"qcow2"}, "qcow2"},
      {"vmdk", vmdk(), {"vmdk"}, "vmdk"},
      {"vmdk's descriptor", "# Disk DescriptorFile\nversion=1\n", {}, "vmdk"},
      {"vdi", vdi(), {"vdi"}, "vdi"},
      {"fixed vhd", vhd(), {"vhd"}, "vhd"},
      {"dynamic vhd", dynamic_vhd, {"vhd"}, "vhd"},
      {"vhdx", packed("vhdxfile"), {}, "vhdx"},
      {"qed", packed(std::string_view("QED\0", 4)), {}, "qed"},
      {"iso", iso(), {"iso"}, "iso"},
      {"iso that is a disk too", hybrid, {"iso", "raw", "ami"}, "iso"},
      {"qcow2 hidden in an iso", hidden, {"qcow2"}, "qcow2"},
      {"gzip", packed("\x1f\x8b\x08"), {"aki", "ari"}, "gzip"},
      {"xz", packed(std::string_view("\xfd" "7zXZ\0", 6)), {"aki", "ari"}, "xz"},
      {"zstd", packed("\x28\xb5\x2f\xfd"), {"aki", "ari"}, "zstd"},
      {"bzip2", packed("BZh9"), {"aki", "ari"}, "bzip2"},
      {"zip", packed("PK\x03\x04"), {"aki", "ari"}, "zip"},
      {"disk", disk, {"raw", "ami", "aki", "ari"}, ""},
      {"text", "hello", {"raw", "ami", "aki", "ari"}, ""},
      {"zeros", std::string(300 * 1024, '\0'), {"raw", "ami", "aki", "ari"}, ""},
  };
  for (const auto& sample : samples)
    for (const auto* format : {"raw", "qcow2", "vmdk", "vdi", "vhd", "iso", "ami", "aki", "ari"})
      for (const std::size_t piece : {std::size_t{3}, std::size_t{65536}}) {
        INFO(sample.what << " as " << format);
        const auto result = check(format, sample.bytes, piece);
        CHECK(result.ok() == sample.passes.contains(format));
        if (!result && sample.named != std::string_view(format) && *sample.named)
          CHECK(result.error().text.find(std::string("but ") + sample.named) != std::string::npos);
      }
}

TEST_CASE("image formats: a qcow2 that reaches outside itself is refused") {
  struct Case {
    std::size_t at;
    std::uint64_t value;
    int count;
    const char* why;
  };
  for (const auto& one :
       {Case{8, 4096, 8, "backing file"}, Case{16, 5, 4, "backing file"}, Case{32, 1, 4, "encrypted"},
        Case{72, 2, 8, "corrupt"}, Case{72, 4, 8, "external data file"}, Case{72, 64, 8, "unknown features"},
        Case{4, 1, 4, "version 1"}, Case{20, 30, 4, "cluster bits"}, Case{24, 0, 8, "0 bytes"},
        Case{24, ~0ull, 8, "bytes"}, Case{100, 7, 4, "header length"},
        Case{104, 0xe2792aca, 4, "another file"}, Case{104, 0x44415441, 4, "another file"}}) {
    auto bytes = qcow2();
    put_big(bytes, one.at, one.value, one.count);
    INFO(one.why);
    const auto result = check("qcow2", bytes);
    REQUIRE_FALSE(result.ok());
    CHECK(result.error().text.find(one.why) != std::string::npos);
  }
  CHECK_FALSE(check("qcow2", qcow2().substr(0, 80)).ok());
  auto extended = qcow2();
  put_big(extended, 104, 0x6803f857, 4);  // feature names, 8 bytes, then another file
  put_big(extended, 108, 5, 4);
  put_big(extended, 120, 0xe2792aca, 4);
  CHECK_FALSE(check("qcow2", extended).ok());
}

TEST_CASE("image formats: a vmdk, vdi or vhd that needs a second file is refused") {
  CHECK_FALSE(check("vmdk", vmdk("monolithicFlat")).ok());
  CHECK_FALSE(check("vmdk", "# Disk DescriptorFile\nversion=1\n").ok());
  auto child = vdi();
  put_little(child, 76, 4, 4);
  CHECK_FALSE(check("vdi", child).ok());
  auto differencing = vhd();
  put_big(differencing, 4096 + 60, 4, 4);
  CHECK_FALSE(check("vhd", differencing).ok());
}

TEST_CASE("image formats: random damage never does more than being refused") {
  std::mt19937_64 random(7);
  const std::pair<const char*, std::string> seeds[] = {
      {"qcow2", qcow2()}, {"vmdk", vmdk()}, {"vdi", vdi()}, {"vhd", vhd()}, {"iso", iso()}};
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    auto [format, bytes] = seeds[random() % 5];
    for (auto n = 1 + random() % 8; n > 0; --n) {
      const auto at =
          random() % 4 == 0 ? random() % bytes.size() : random() % std::min<std::size_t>(bytes.size(), 128);
      bytes[at] = static_cast<char>(random());
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    const auto result = check(format, bytes, 1 + random() % 100'000);
    refused += !result.ok();
    if (result) CHECK(*result <= virtual_bytes_max);
  }
  CHECK(refused > 100);
}
