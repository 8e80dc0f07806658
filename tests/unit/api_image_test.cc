#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "controlplane/api/http_server.h"
#include "controlplane/api/image_store.h"
#include "tests/unit/api_client.h"
#include "tests/unit/api_cloud.h"

namespace reprise::api {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view patch_type = "application/openstack-images-v2.1-json-patch";
// MD5 and SHA-512 of "hello".
constexpr std::string_view hello_md5 = "5d41402abc4b2a76b9719d911017c592";
constexpr std::string_view hello_sha512 =
    "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c466347"
    "5c2e5c3adef46f73bcdec043";

Headers token(const std::string& token) { return {{"X-Auth-Token", token}}; }

std::size_t files_in(const std::string& folder) {
  std::size_t count = 0;
  if (fs::exists(folder))
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder)) ++count;
  return count;
}

// An upload whose pieces the test hands over itself.
class HeldUpload final : public Upload {
 public:
  void next(Then then) override {
    std::unique_lock lock(mutex_);
    then_ = std::move(then);
    changed_.notify_all();
  }
  std::optional<std::uint64_t> length() const override { return std::nullopt; }

  void give(Result<std::string> piece) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return bool(then_); }));
    const auto then = std::exchange(then_, {});
    lock.unlock();
    then(std::move(piece));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Then then_;
};

struct ImageCloud : ApiCloud {
  ImageCloud() : ApiCloud(0) {}
  std::string queued(std::string_view format = "raw", Headers headers = {}) {
    const auto made =
        ask("POST", "/image/v2/images",
            fmt::format(R"({{"name":"i","disk_format":"{}","container_format":"bare"}})", format), headers);
    INFO(made.body());
    REQUIRE(made.status() == 201);
    return made.text("id");
  }
  // Where its bytes are, as it is now.
  std::string path(const std::string& id) {
    const auto image = rig.projection->view().find<Image>(*ImageId::parse(id));
    REQUIRE(image);
    return folder() + "/" + image_file_name(key_of(*image));
  }
  RigAnswer upload(const std::string& id, std::vector<Result<std::string>> pieces, Headers headers = {}) {
    auto upload = std::make_shared<HeldUpload>();
    auto answer = rig.send_upload("/image/v2/images/" + id + "/file", upload, std::move(headers));
    for (auto& piece : pieces) upload->give(std::move(piece));
    return rig.wait(std::move(answer));
  }
  // Bytes follow events: what an answer said may come a moment later.
  void until_files(std::size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (files_in(folder()) != count && std::chrono::steady_clock::now() < deadline) ask("GET", "/image/v2/images");
    CHECK(files_in(folder()) == count);
  }
  std::string status(const std::string& id) { return ask("GET", "/image/v2/images/" + id).text("status"); }
  const std::string& folder() const { return rig.api->config().image_dir; }
};

TEST_CASE("image records are created, shown, patched and deleted") {
  ImageCloud cloud;
  const auto made = cloud.ask(
      "POST", "/image/v2/images",
      R"({"name":"deb","disk_format":"qcow2","container_format":"bare","min_disk":1,"min_ram":64,"visibility":"public",
                                  "tags":["a","b","a"],"owner_specified.openstack.md5":"","kernel_id":"5f1c1a7e-7d4f-4f63-9d1e-1f9a1e2a3b4c"})");
  INFO(made.body());
  REQUIRE(made.status() == 201);
  const auto id = made.text("id");
  const auto path = "/image/v2/images/" + id;
  CHECK(made.header("Location") == "http://cloud:8700" + path);
  CHECK(made.text("status") == "queued");
  CHECK(made.text("size") == "null");
  CHECK(made.text("self") == "/v2/images/" + id);
  CHECK(made.size("tags") == 2);
  CHECK(made.body().find(R"("owner_specified.openstack.md5":"")") != std::string::npos);
  CHECK(cloud.ask("POST", "/image/v2/images", fmt::format(R"({{"id":"{}"}})", id)).status() == 409);

  const auto patch = [&](std::string_view body, std::string_view type = patch_type) {
    return cloud.ask("PATCH", path, body, {{"Content-Type", std::string(type)}});
  };
  const auto patched =
      patch(R"([{"op":"replace","path":"/name","value":"debian"},{"op":"add","path":"/a~1b","value":"x"},
                                 {"op":"remove","path":"/kernel_id"},{"op":"replace","path":"/tags","value":["c"]},
                                 {"op":"replace","path":"/protected","value":true}])");
  INFO(patched.body());
  REQUIRE(patched.status() == 200);
  CHECK(patched.text("name") == "debian");
  CHECK(patched.text("a/b") == "x");
  CHECK(patched.text("kernel_id") == "");
  CHECK(patched.text("tags") == R"(["c"])");
  CHECK(cloud.ask("DELETE", path).status() == 403);
  CHECK(patch("[]", "application/json").status() == 415);
  CHECK(patch("{}").status() == 400);
  CHECK(patch(R"([{"op":"replace","path":"/status","value":"active"}])").status() == 403);
  CHECK(patch(R"([{"op":"replace","path":"/nothing","value":"x"}])").status() == 409);
  CHECK(patch(R"([{"op":"remove","path":"/name"}])").status() == 403);
  CHECK(patch(R"([{"op":"replace","path":"/min_ram","value":-1}])").status() == 400);
  CHECK(patch(R"([{"op":"replace","path":"/a/b","value":"x"}])").status() == 400);
  CHECK(patch(R"([{"op":"replace","path":"/disk_format","value":"floppy"}])").status() == 400);
  CHECK(cloud.ask("PUT", path + "/tags/d").status() == 204);
  CHECK(cloud.ask("DELETE", path + "/tags/nope").status() == 404);
  CHECK(cloud.ask("GET", path).size("tags") == 2);
  patch(R"([{"op":"replace","path":"/protected","value":false}])");
  CHECK(cloud.ask("DELETE", path).status() == 204);
  const auto gone = cloud.ask("GET", path, {}, {{"Accept", "application/json"}});
  CHECK(gone.status() == 404);
  CHECK(gone.text("message") == "No image found with ID " + id);
}

TEST_CASE("an image that cannot be is refused by name") {
  ImageCloud cloud;
  const auto refused = [&](std::string_view body, int status, std::string_view words) {
    const auto answer = cloud.ask("POST", "/image/v2/images", body);
    INFO(body << "\n" << answer.body());
    CHECK(answer.status() == status);
    CHECK(answer.body().find(words) != std::string::npos);
  };
  refused(R"({"name":")" + std::string(256, 'n') + R"("})", 400, "name");
  refused(R"({"disk_format":"floppy"})", 400, "disk_format");
  refused(R"({"disk_format":"raw","container_format":"ami"})", 400,
          "Invalid mix of disk and container formats");
  refused(R"({"size":5})", 403, "is read-only");
  refused(R"({"property":5})", 400, "property");
  refused(R"({"visibility":"secret"})", 400, "visibility");
  refused(R"({"min_disk":-1})", 400, "min_disk");
  refused(R"({"id":"nope"})", 400, "id");
  const auto member = cloud.rig.add_project("green");
  CHECK(cloud.ask("POST", "/image/v2/images", R"({"visibility":"public"})", token(member)).status() == 403);
  CHECK(cloud.ask("GET", "/image/v2/images").size("images") == 0);
}

TEST_CASE("lists of images are filtered, sorted and paged by relative links") {
  ImageCloud cloud;
  const auto member = cloud.rig.add_project("green");
  for (const auto* name : {"a", "b", "c"})
    cloud.ask(
        "POST", "/image/v2/images",
        fmt::format(R"({{"name":"{}","disk_format":"raw","tags":["{}"],"os_type":"linux"}})", name, name));
  cloud.ask("POST", "/image/v2/images", R"({"name":"open","visibility":"public"})");
  cloud.ask("POST", "/image/v2/images", R"({"name":"fair","visibility":"community"})");
  const auto names = [&](std::string_view query, Headers headers = {}) {
    const auto answer = cloud.ask("GET", "/image/v2/images?" + std::string(query), {}, headers);
    INFO(query << " " << answer.body());
    REQUIRE(answer.status() == 200);
    std::string all;
    for (std::size_t i = 0; i < answer.size("images"); ++i)
      all += answer.text(fmt::format("images.{}.name", i)) + " ";
    return all;
  };
  CHECK(names("sort=name:asc") == "a b c fair open ");
  CHECK(names("") == "fair open c b a ");
  CHECK(names("name=b") == "b ");
  CHECK(names("name=in:a,b&sort=name:asc") == "a b ");
  CHECK(names("tag=c") == "c ");
  CHECK(names("os_type=linux&sort_key=name&sort_dir=desc") == "c b a ");
  CHECK(names("visibility=public") == "open ");
  CHECK(names("status=active") == "");
  CHECK(names("created_at=gt:2020-01-01T00:00:00Z&name=a") == "a ");
  CHECK(names("os_hidden=true") == "");
  CHECK(names("", token(member)) == "open ");
  CHECK(names("visibility=community", token(member)) == "fair ");
  const auto page = cloud.ask("GET", "/image/v2/images?limit=2&sort=name:asc");
  CHECK(page.text("first") == "/v2/images?limit=2&sort=name%3Aasc");
  CHECK(page.text("next").starts_with("/v2/images?limit=2&sort=name%3Aasc&marker="));
  CHECK(cloud.ask("GET", "/image" + page.text("next")).text("images.0.name") == "c");
  CHECK(cloud.ask("GET", "/image/v2/images?limit=x").status() == 400);
  CHECK(cloud.ask("GET", "/image/v2/images?sort_key=colour").status() == 400);
  CHECK(cloud.ask("GET", "/image/v2/images?visibility=secret").status() == 400);
}

TEST_CASE("an upload is hashed while it comes, and is there when its record says so") {
  ImageCloud cloud;
  const auto id = cloud.queued();
  CHECK(cloud.ask("GET", "/image/v2/images/" + id + "/file").status() == 204);
  auto upload = std::make_shared<HeldUpload>();
  auto answer = cloud.rig.send_upload("/image/v2/images/" + id + "/file", upload);
  upload->give(std::string("hel"));
  CHECK(fs::exists(cloud.path(id) + ".part"));
  CHECK_FALSE(fs::exists(cloud.path(id)));
  CHECK(cloud.status(id) == "queued");

  auto other = std::make_shared<HeldUpload>();
  const auto second = cloud.rig.wait(cloud.rig.send_upload("/image/v2/images/" + id + "/file", other));
  CHECK(second.status() == 409);
  CHECK(second.body().find("another upload of this image is under way") != std::string::npos);

  upload->give(std::string("lo"));
  upload->give(std::string());
  CHECK(cloud.rig.wait(std::move(answer)).status() == 204);
  const auto shown = cloud.ask("GET", "/image/v2/images/" + id);
  CHECK(shown.text("status") == "active");
  CHECK(shown.text("size") == "5");
  CHECK(shown.text("checksum") == hello_md5);
  CHECK(shown.text("os_hash_algo") == "sha512");
  CHECK(shown.text("os_hash_value") == hello_sha512);
  CHECK(files_in(cloud.folder()) == 1);
  CHECK(cloud.rig.wait(cloud.rig.send_upload("/image/v2/images/" + id + "/file", other)).status() == 409);

  const auto got = cloud.ask("GET", "/image/v2/images/" + id + "/file");
  CHECK(got.status() == 200);
  CHECK(got.header("Content-MD5") == hello_md5);
  REQUIRE(got.response.file);
  CHECK(got.response.file->size == 5);
  const auto part = cloud.ask("GET", "/image/v2/images/" + id + "/file", {}, {{"Range", "bytes=1-3"}});
  CHECK(part.status() == 206);
  CHECK(part.header("Content-Range") == "bytes 1-3/5");
  CHECK(part.response.file->offset == 1);
  CHECK(part.response.file->size == 3);
  CHECK(cloud.ask("GET", "/image/v2/images/" + id + "/file", {}, {{"Range", "bytes=5-"}}).status() == 416);
  CHECK(cloud.ask("GET", fmt::format("/at/{}/image/v2/images/{}/file", cloud.rig.projection->head().seq, id))
            .status() == 501);
  CHECK(cloud.ask("DELETE", "/image/v2/images/" + id).status() == 204);
  cloud.until_files(0);
}

TEST_CASE("an upload that breaks off or is not what it claims leaves nothing") {
  ImageCloud cloud;
  const auto send = [&](const std::string& id, std::vector<Result<std::string>> pieces) {
    return cloud.upload(id, std::move(pieces));
  };
  const auto raw = cloud.queued();
  CHECK(send(raw, {std::string("half"), Error{Errc::unreachable, "gone"}}).status() == 400);
  CHECK(files_in(cloud.folder()) == 0);
  CHECK(cloud.status(raw) == "queued");
  CHECK(send(raw, {Error{Errc::no_space, "too large"}}).status() == 413);
  CHECK(send(raw, {std::string()}).status() == 400);

  const auto qcow2 = cloud.queued("qcow2");
  const auto lie = send(qcow2, {std::string(256 * 1024, 'x')});
  CHECK(lie.status() == 415);
  CHECK(lie.body().find("is not what its disk_format says") != std::string::npos);
  CHECK(files_in(cloud.folder()) == 0);
  CHECK(send(raw, {std::string("whole"), std::string()}).status() == 204);
  CHECK(cloud.status(raw) == "active");

  const auto bare = cloud.ask("POST", "/image/v2/images", R"({"name":"no formats"})").text("id");
  CHECK(cloud
            .ask("PUT", "/image/v2/images/" + bare + "/file", "x",
                 {{"Content-Type", "application/octet-stream"}})
            .status() == 400);
  CHECK(cloud.ask("PUT", "/image/v2/images/" + qcow2 + "/file", "x", {{"Content-Type", "text/plain"}})
            .status() == 415);
  const auto member = cloud.rig.add_project("green");
  CHECK(cloud.ask("PUT", "/image/v2/images/" + qcow2 + "/file", "x", token(member)).status() == 404);
}

TEST_CASE("bytes whose record came to nothing go, and those of an unknown outcome stay") {
  ImageCloud cloud;
  const auto id = cloud.queued();
  auto upload = std::make_shared<HeldUpload>();
  auto answer = cloud.rig.send_upload("/image/v2/images/" + id + "/file", upload);
  upload->give(std::string("bytes"));
  // Deleted meanwhile: StoreImage is refused.
  CHECK(cloud.ask("DELETE", "/image/v2/images/" + id).status() == 204);
  upload->give(std::string());
  CHECK(cloud.rig.wait(std::move(answer)).status() == 404);
  CHECK(files_in(cloud.folder()) == 0);

  ImageStore store(cloud.folder());
  const ImageKey other{{7, 7}, {3, 1}};
  {
    auto writer = store.begin(other, "raw", std::nullopt, 1000);
    REQUIRE(writer);
    REQUIRE((*writer)->write("x"));
    REQUIRE((*writer)->finish());
    (*writer)->leave(5000);
  }
  CHECK(fs::exists(store.path(other)));
  CHECK_FALSE(store.begin(other, "raw", std::nullopt, 5000));
  CHECK(store.begin(other, "raw", std::nullopt, 5001));
  CHECK(store.begin(ImageKey{{8, 8}, {3, 1}}, "raw", std::uint64_t{1} << 62, 0).error().code == Errc::no_space);
}

TEST_CASE("what crashes left is swept away at the start, and nothing else") {
  ImageCloud cloud;
  const auto kept = cloud.add_image();
  const auto queued = cloud.path(cloud.queued());
  const auto gone = cloud.queued();
  const auto orphan = cloud.path(gone);  // deleted, and the process ended before its bytes went
  CHECK(cloud.ask("DELETE", "/image/v2/images/" + gone).status() == 204);
  const auto later = cloud.folder() + "/" + image_file_name({{9, 9}, {1'000'000, 1}});  // born after all that is known here
  const auto write = [&](const std::string& path) { std::ofstream(path) << "x"; };
  write(cloud.folder() + "/notes.txt");
  for (const auto& path : {queued + ".part", queued, orphan, later}) write(path);
  const auto view = cloud.rig.projection->view();
  {
    ImageStore store(cloud.folder());
    const auto writing = store.begin({{5, 5}, {1, 1}}, "raw", std::nullopt, 0);
    REQUIRE(writing);
    REQUIRE(sweep_images(cloud.folder(), view, 30'000));
    CHECK(fs::exists(store.path({{5, 5}, {1, 1}}) + ".part"));  // somebody writes it
  }
  CHECK(fs::exists(cloud.path(kept)));
  CHECK(fs::exists(cloud.folder() + "/notes.txt"));
  CHECK(fs::exists(later));
  CHECK_FALSE(fs::exists(queued + ".part"));
  CHECK_FALSE(fs::exists(orphan));
  // Its intent may still be decided.
  CHECK(fs::exists(queued));
  REQUIRE(sweep_images(cloud.folder(), view, -10'000'000));
  CHECK_FALSE(fs::exists(queued));
  CHECK(fs::exists(cloud.path(kept)));
  CHECK(sweep_images(cloud.folder() + "/nowhere", view, 0));
}

TEST_CASE("files of before, named by the id alone, get their names at the start") {
  ImageCloud cloud;
  const auto id = cloud.add_image("guest", "bytes");
  const auto path = cloud.path(id), before = cloud.folder() + "/" + id;
  fs::rename(path, before);
  const auto queued = cloud.folder() + "/" + cloud.queued();
  std::ofstream(queued) << "x";
  REQUIRE(sweep_images(cloud.folder(), cloud.rig.projection->view(), 30'000));
  CHECK(fs::exists(path));
  CHECK_FALSE(fs::exists(before));
  CHECK(fs::exists(queued));
  REQUIRE(sweep_images(cloud.folder(), cloud.rig.projection->view(), -10'000'000));
  CHECK_FALSE(fs::exists(queued));
}

TEST_CASE("a delete that is answered again takes no bytes of the image that has the id now") {
  ImageCloud cloud;
  const auto id = cloud.queued();
  const auto path = "/image/v2/images/" + id;
  const auto make_again = [&] {
    const auto made = cloud.ask("POST", "/image/v2/images",
                                fmt::format(R"({{"id":"{}","disk_format":"raw","container_format":"bare"}})", id));
    REQUIRE(made.status() == 201);
  };
  CHECK(cloud.upload(id, {std::string("old"), std::string()}).status() == 204);
  const auto old = cloud.path(id);
  CHECK(cloud.ask("DELETE", path, {}, {{"X-Reprise-Intent", "K"}}).status() == 204);
  make_again();
  CHECK(cloud.upload(id, {std::string("new"), std::string()}).status() == 204);
  cloud.until_files(1);
  CHECK_FALSE(fs::exists(old));
  const auto again = cloud.ask("DELETE", path, {}, {{"X-Reprise-Intent", "K"}});
  CHECK(again.status() == 204);
  CHECK(again.header("X-Reprise-Replayed") == "true");
  // And by whatever way the first deletion is told again.
  ImageStore store(cloud.folder());
  store.forget(*ImageId::parse(id), cloud.rig.projection->view());
  store.forget(*ImageId::parse(id), *cloud.rig.projection->view_at(cloud.rig.projection->head().seq));
  const auto got = cloud.ask("GET", path + "/file");
  CHECK(got.status() == 200);
  REQUIRE(got.response.file);
  CHECK(got.response.file->size == 3);
}

TEST_CASE("bytes that were sent for an image that was deleted meanwhile are not the new one's") {
  ImageCloud cloud;
  const auto id = cloud.queued();
  const auto path = "/image/v2/images/" + id;
  auto upload = std::make_shared<HeldUpload>();
  auto answer = cloud.rig.send_upload(path + "/file", upload);
  upload->give(std::string("old"));
  CHECK(cloud.ask("DELETE", path).status() == 204);
  CHECK(cloud.ask("POST", "/image/v2/images", fmt::format(R"({{"id":"{}","disk_format":"raw","container_format":"bare"}})", id))
            .status() == 201);
  // The new one takes its own, at once.
  CHECK(cloud.upload(id, {std::string("newer"), std::string()}).status() == 204);
  upload->give(std::string());
  const auto late = cloud.rig.wait(std::move(answer));
  CHECK(late.status() == 404);
  CHECK(late.body().find("deleted meanwhile") != std::string::npos);
  cloud.until_files(1);
  CHECK(cloud.ask("GET", path).text("size") == "5");
  CHECK(cloud.ask("GET", path + "/file").response.file->size == 5);
}

TEST_CASE("a format that is changed while the bytes come is not theirs") {
  ImageCloud cloud;
  const auto id = cloud.queued();
  auto upload = std::make_shared<HeldUpload>();
  auto answer = cloud.rig.send_upload("/image/v2/images/" + id + "/file", upload);
  upload->give(std::string("raw bytes"));
  CHECK(cloud.ask("PATCH", "/image/v2/images/" + id, R"([{"op":"replace","path":"/disk_format","value":"qcow2"}])",
                  {{"Content-Type", std::string(patch_type)}}).status() == 200);
  upload->give(std::string());
  const auto late = cloud.rig.wait(std::move(answer));
  CHECK(late.status() == 409);
  CHECK(late.body().find("was changed to qcow2") != std::string::npos);
  CHECK(files_in(cloud.folder()) == 0);
  CHECK(cloud.status(id) == "queued");
}

TEST_CASE("every way to upload is refused before the file system or the project's quota is full") {
  ImageCloud cloud;
  ImageStore full(cloud.folder(), std::uint64_t{1} << 60);  // as if no more than its reserve were free
  for (const auto size : {std::optional<std::uint64_t>(), std::optional<std::uint64_t>(1)}) {
    const auto writer = full.begin({{7, 7}, {3, 1}}, "raw", size, 1000);
    REQUIRE_FALSE(writer);
    CHECK(writer.error().code == Errc::no_space);
  }
  // It becomes full while the bytes come: another takes the room.
  const auto free = fs::space(cloud.folder()).available;
  ImageStore tight(cloud.folder(), free - (16 << 20));
  {
    auto writer = tight.begin({{7, 7}, {3, 1}}, "raw", std::nullopt, 1000);
    REQUIRE(writer);
    Status status;
    std::uint64_t written = 0;
    const std::string piece(1 << 20, 'x');
    while (status && written < (64u << 20)) status = (*writer)->write(piece), written += piece.size();
    CHECK(status.error().code == Errc::no_space);
    CHECK(written <= (32u << 20));
  }
  CHECK(files_in(cloud.folder()) == 0);
}

TEST_CASE("a project's images count, and their bytes, as glance's limits do") {
  ImageCloud cloud;
  const auto project = cloud.rig.genesis.project.hex();
  const auto usage = cloud.ask("GET", "/image/v2/info/usage");
  CHECK(usage.text("usage.image_count_total.limit") == "500");
  CHECK(usage.text("usage.image_count_total.usage") == "0");
  CHECK(usage.text("usage.image_size_total.limit") == "2097152");
  const auto set = [&](std::string_view limits) {
    auto answer = cloud.ask("PUT", "/image/v2/quotas/" + project, fmt::format(R"({{"quota":{}}})", limits));
    INFO(answer.body());
    CHECK(answer.status() == 200);
    return answer;
  };
  CHECK(set(R"({"image_count_total":2,"image_size_total":1})").text("quota.image_size_total") == "1");
  const auto first = cloud.queued(), second = cloud.queued();
  const auto third = cloud.ask("POST", "/image/v2/images", R"({"name":"third"})");
  CHECK(third.status() == 413);
  CHECK(third.body().find("images") != std::string::npos);
  CHECK(cloud.upload(first, {std::string(1 << 20, 'x'), std::string()}).status() == 204);
  CHECK(cloud.ask("GET", "/image/v2/info/usage").text("usage.image_size_total.usage") == "1");
  CHECK(cloud.rig.wait(cloud.rig.send_upload("/image/v2/images/" + second + "/file", std::make_shared<HeldUpload>())).status() == 413);
  set(R"({"image_size_total":3})");
  // Said while it comes: nobody knew how much it would be.
  CHECK(cloud.upload(second, {std::string(1 << 20, 'x'), std::string((1 << 20) + 1, 'x')}).status() == 413);
  CHECK(cloud.upload(second, {std::string(2 << 20, 'x'), std::string()}).status() == 204);
  // Other services' limits stay as they were, and theirs leave these.
  CHECK(cloud.ask("PUT", "/network/v2.0/quotas/" + project, R"({"quota":{"port":77}})").status() == 200);
  CHECK(cloud.ask("GET", "/image/v2/quotas/" + project).text("quota.image_count_total") == "2");
  CHECK(cloud.ask("DELETE", "/image/v2/quotas/" + project).status() == 204);
  CHECK(cloud.ask("GET", "/image/v2/quotas/" + project).text("quota.image_count_total") == "500");
  CHECK(cloud.ask("GET", "/network/v2.0/quotas/" + project).text("quota.port") == "77");
  CHECK(cloud.ask("PUT", "/image/v2/quotas/" + project, R"({"quota":{"image_count_total":1}})").status() == 400);
  const auto member = cloud.rig.add_project("green");
  CHECK(cloud.ask("PUT", "/image/v2/quotas/" + cloud.project("green"), R"({"quota":{"image_count_total":9}})", token(member)).status() == 403);
}

TEST_CASE("through the real server: a large image in and out, and one cut off") {
  ImageCloud cloud;
  auto server = HttpServer::start({.port = 0}, cloud.rig.router);
  REQUIRE(server);
  std::string bytes(3 * 1024 * 1024 + 17, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 + i / 251);
  const auto head = [&](const std::string& id, std::string_view method, std::size_t length) {
    return fmt::format(
        "{} /image/v2/images/{}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {}\r\nContent-Type: "
        "application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        method, id, cloud.rig.admin_token, length);
  };
  const auto id = cloud.queued();
  {
    Client client((*server)->port());
    client.send(head(id, "PUT", bytes.size()));
    client.send(bytes);
    CHECK(client.answer().status == 204);
  }
  CHECK(cloud.status(id) == "active");
  {
    Client client((*server)->port());
    const auto got = client.ask(head(id, "GET", 0));
    CHECK(got.status == 200);
    CHECK(got.body == bytes);
  }
  const auto cut = cloud.queued();
  {
    Client client((*server)->port());
    client.send(head(cut, "PUT", bytes.size()));
    client.send(bytes.substr(0, 1024 * 1024));
    client.end_sending();
    CHECK(client.answer().status == 400);
  }
  CHECK(cloud.status(cut) == "queued");
  CHECK(files_in(cloud.folder()) == 1);
  (*server)->stop(std::chrono::seconds(5));
}

TEST_CASE("versions, schemas and what is not here") {
  ImageCloud cloud;
  const auto root = cloud.ask("GET", "/image/", {}, {{"X-Auth-Token", ""}});
  CHECK(root.status() == 300);
  CHECK(root.text("versions.0.status") == "CURRENT");
  CHECK(root.text("versions.0.links.0.href") == "http://cloud:8700/image/v2/");
  CHECK(cloud.ask("GET", "/image/v2/schemas/image").text("properties.tags.type") == "array");
  CHECK(cloud.ask("GET", "/image/v2/schemas/images").text("name") == "images");
  const auto id = cloud.queued();
  CHECK(cloud.ask("POST", "/image/v2/images/" + id + "/import", "{}").status() == 501);
  CHECK(cloud.ask("POST", "/image/v2/tasks", "{}").status() == 501);
  CHECK(cloud.ask("GET", "/image/v2/images/" + id + "/members").size("members") == 0);
}

TEST_CASE("an image that was open once and is not any more, is not shown in the past either") {
  ImageCloud cloud;
  const auto owner = token(cloud.rig.add_project("owner")), guest = token(cloud.rig.add_project("guest"));
  const auto made = cloud.ask("POST", "/image/v2/images", R"({"visibility":"community","disk_format":"raw","container_format":"bare"})", owner);
  const auto id = made.text("id");
  const auto then = fmt::format("/at/{}/image/v2/images", cloud.rig.projection->head().seq);
  const auto sees = [&](const Headers& headers) {
    const bool there = cloud.ask("GET", then + "/" + id, "", headers).status() == 200;
    CHECK(cloud.ask("GET", then + "?visibility=community", "", headers).size("images") == (there ? 1 : 0));
    return there;
  };
  CHECK(sees(guest));
  auto patch = owner;
  patch.emplace_back("Content-Type", std::string(patch_type));
  REQUIRE(cloud.ask("PATCH", "/image/v2/images/" + id, R"([{"op":"replace","path":"/visibility","value":"private"}])", patch).status() == 200);
  CHECK_FALSE(sees(guest));
  CHECK(sees(owner));
}

TEST_CASE("an image is made for another project by admins alone") {
  ImageCloud cloud;
  const auto owner = token(cloud.rig.add_project("owner")), guest = token(cloud.rig.add_project("guest"));
  const auto body = fmt::format(R"({{"owner":"{}","disk_format":"raw","container_format":"bare"}})", cloud.project("owner"));
  CHECK(cloud.ask("POST", "/image/v2/images", body, guest).status() == 400);
  const auto made = cloud.ask("POST", "/image/v2/images", body);
  REQUIRE(made.status() == 201);
  CHECK(cloud.ask("GET", "/image/v2/images/" + made.text("id"), "", owner).text("owner") == cloud.project("owner"));
}

TEST_CASE("a hundred thousand properties are one mistake") {
  ImageCloud cloud;
  std::string body = R"({"name":"x")";
  for (int i = 0; i < 95'000; ++i) body += fmt::format(R"(,"p{}":"")", i);
  const auto answer = cloud.ask("POST", "/image/v2/images", body + "}");
  CHECK(answer.status() == 400);
  CHECK(answer.body().find("at most 128 properties") != std::string::npos);
}

}  // namespace
}  // namespace reprise::api
