#include "tests/contract/storage_suite.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::storage {
namespace {

DiskWant disk(std::uint64_t id, DiskKind kind, std::uint64_t size_gib, Seq born = 7) {
  DiskWant want;
  want.id = AnyId{0x1111, id};
  want.born = Born{born, 0};
  want.kind = kind;
  want.size_gib = size_gib;
  want.backed = kind == DiskKind::boot;
  return want;
}

Action action(Step step, const DiskWant& want) {
  Action one;
  one.step = step;
  one.disk = want;
  return one;
}

Action evict(ImageId image) {
  Action one;
  one.step = Step::evict_image;
  one.image = image;
  return one;
}

Have look(Driver& driver) {
  auto have = driver.observe();
  if (!have) FAIL(have.error().text);
  return *have;
}

const DiskHave* find(const Have& have, const DiskWant& want) {
  const auto found = have.disks.find({want.id, want.born});
  return found == have.disks.end() ? nullptr : &found->second;
}

void must(const Status& status) {
  if (!status) FAIL(errc_name(status.error().code) << ": " << status.error().text);
}

void must_fail(const Status& status, Errc code) {
  REQUIRE_FALSE(status);
  INFO(status.error().text);
  CHECK(std::string(errc_name(status.error().code)) == errc_name(code));
  CHECK(status.error().text.size() > 10);
}

}  // namespace

void driver_contract(const MakeHost& make) {
  const auto host = make();
  host->driver().on_change([] {});
  const auto boot = [&] {
    auto want = disk(1, DiskKind::boot, 2);
    want.image = host->image();
    return want;
  };

  SECTION("an empty node has nothing, and room") {
    const auto have = look(host->driver());
    REQUIRE(have.disks.empty());
    REQUIRE(have.cached.empty());
  }

  SECTION("a boot disk stands on the cached image, and is made once") {
    must(host->driver().perform(action(Step::create, boot())));
    const auto have = look(host->driver());
    REQUIRE(have.disks.size() == 1);
    REQUIRE(find(have, boot()) != nullptr);
    CHECK(find(have, boot())->kind == DiskKind::boot);
    CHECK(find(have, boot())->size_gib == 2);
    REQUIRE(have.cached.count(boot().image->id) == 1);
    CHECK(have.cached.at(boot().image->id) == boot().image->sha512);
    must(host->driver().perform(action(Step::create, boot())));
    CHECK(look(host->driver()).disks == have.disks);
  }

  SECTION("where a disk is does not depend on whether it is there") {
    const auto before = host->driver().source(boot().id, boot().born);
    must(host->driver().perform(action(Step::create, boot())));
    const auto after = host->driver().source(boot().id, boot().born);
    CHECK(before.path == after.path);
    CHECK(before.type == after.type);
    CHECK(before.format == after.format);
    CHECK(before.path != host->driver().source(boot().id, Born{8, 0}).path);
  }

  SECTION("a volume is whole of its own: its image may leave the cache") {
    auto want = disk(2, DiskKind::volume, 3);
    want.image = host->image();
    must(host->driver().perform(action(Step::create, want)));
    auto have = look(host->driver());
    REQUIRE(find(have, want) != nullptr);
    CHECK(find(have, want)->kind == DiskKind::volume);
    CHECK(find(have, want)->size_gib == 3);
    must(host->driver().perform(evict(want.image->id)));
    have = look(host->driver());
    CHECK(have.cached.empty());
    CHECK(find(have, want) != nullptr);
  }

  SECTION("an image leaves the cache only when no disk stands on it") {
    must(host->driver().perform(action(Step::create, boot())));
    must_fail(host->driver().perform(evict(boot().image->id)), Errc::conflict);
    CHECK(look(host->driver()).cached.size() == 1);
    must(host->driver().perform(action(Step::remove, boot())));
    must(host->driver().perform(evict(boot().image->id)));
    CHECK(look(host->driver()).cached.empty());
    must(host->driver().perform(evict(boot().image->id)));
  }

  SECTION("empty volumes, growing, and never shrinking") {
    auto want = disk(3, DiskKind::volume, 1);
    must_fail(host->driver().perform(action(Step::grow, want)), Errc::not_found);
    must(host->driver().perform(action(Step::create, want)));
    want.size_gib = 5;
    must(host->driver().perform(action(Step::grow, want)));
    CHECK(find(look(host->driver()), want)->size_gib == 5);
    want.size_gib = 2;
    must(host->driver().perform(action(Step::grow, want)));
    CHECK(find(look(host->driver()), want)->size_gib == 5);
    auto nothing = disk(4, DiskKind::volume, 0);
    must_fail(host->driver().perform(action(Step::create, nothing)), Errc::invalid);
  }

  SECTION("two lives of one id are two disks") {
    const auto former = disk(5, DiskKind::volume, 1, 7);
    const auto now = disk(5, DiskKind::volume, 2, 9);
    must(host->driver().perform(action(Step::create, former)));
    must(host->driver().perform(action(Step::create, now)));
    must(host->driver().perform(action(Step::remove, former)));
    const auto have = look(host->driver());
    CHECK(find(have, former) == nullptr);
    REQUIRE(find(have, now) != nullptr);
    CHECK(find(have, now)->size_gib == 2);
  }

  SECTION("removing is repeatable, also of what never was") {
    must(host->driver().perform(action(Step::create, boot())));
    must(host->driver().perform(action(Step::remove, boot())));
    must(host->driver().perform(action(Step::remove, boot())));
    CHECK(look(host->driver()).disks.empty());
  }

  SECTION("an agent that comes back sees the same") {
    must(host->driver().perform(action(Step::create, boot())));
    must(host->driver().perform(action(Step::create, disk(6, DiskKind::volume, 1))));
    const auto before = look(host->driver());
    host->restart();
    host->driver().on_change([] {});
    const auto after = look(host->driver());
    CHECK(after.disks == before.disks);
    CHECK(after.cached == before.cached);
  }

  SECTION("a full node says so, leaves nothing half made, and goes on when there is room") {
    host->fill_up();
    must_fail(host->driver().perform(action(Step::create, boot())), Errc::no_space);
    must_fail(host->driver().perform(action(Step::create, disk(7, DiskKind::volume, 1))), Errc::no_space);
    auto have = look(host->driver());
    CHECK(have.disks.empty());
    CHECK(have.cached.empty());
    host->free_up();
    must(host->driver().perform(action(Step::create, boot())));
    CHECK(find(look(host->driver()), boot()) != nullptr);
  }

  if (!host->has_bytes()) return;
  SECTION("an image that is damaged, missing or too large for the disk makes no disk") {
    auto want = boot();
    want.image = host->damaged_image();
    must_fail(host->driver().perform(action(Step::create, want)), Errc::broken);
    want.image = host->missing_image();
    must_fail(host->driver().perform(action(Step::create, want)), Errc::not_found);
    want.image = host->large_image();
    want.size_gib = 1;
    must_fail(host->driver().perform(action(Step::create, want)), Errc::invalid);
    CHECK(look(host->driver()).disks.empty());
    want.size_gib = 2;
    must(host->driver().perform(action(Step::create, want)));
    CHECK(find(look(host->driver()), want)->size_gib == 2);
  }
}

}  // namespace reprise::storage
