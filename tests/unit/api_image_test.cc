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
  CHECK(fs::exists(cloud.folder() + "/" + id + ".part"));
  CHECK_FALSE(fs::exists(cloud.folder() + "/" + id));
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
  CHECK(files_in(cloud.folder()) == 0);
}

TEST_CASE("an upload that breaks off or is not what it claims leaves nothing") {
  ImageCloud cloud;
  const auto send = [&](const std::string& id, std::vector<Result<std::string>> pieces) {
    auto upload = std::make_shared<HeldUpload>();
    auto answer = cloud.rig.send_upload("/image/v2/images/" + id + "/file", upload);
    for (auto& piece : pieces) upload->give(std::move(piece));
    return cloud.rig.wait(std::move(answer));
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
  const ImageId other{7, 7};
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
  CHECK(store.begin(ImageId{8, 8}, "raw", std::uint64_t{1} << 62, 0).error().code == Errc::no_space);
}

TEST_CASE("what crashes left is swept away at the start, and nothing else") {
  ImageCloud cloud;
  const auto kept = cloud.add_image();
  const auto queued = cloud.queued();
  const auto file = [&](const std::string& name, bool old) {
    std::ofstream(cloud.folder() + "/" + name) << "x";
    return old;
  };
  file("notes.txt", true);
  file(queued + ".part", true);
  file(queued, false);
  const auto view = cloud.rig.projection->view();
  REQUIRE(sweep_images(cloud.folder(), view, 30'000));
  CHECK(fs::exists(cloud.folder() + "/" + kept));
  CHECK(fs::exists(cloud.folder() + "/notes.txt"));
  CHECK_FALSE(fs::exists(cloud.folder() + "/" + queued + ".part"));
  // Its intent may still be decided.
  CHECK(fs::exists(cloud.folder() + "/" + queued));
  REQUIRE(sweep_images(cloud.folder(), view, -10'000'000));
  CHECK_FALSE(fs::exists(cloud.folder() + "/" + queued));
  CHECK(fs::exists(cloud.folder() + "/" + kept));
  CHECK(sweep_images(cloud.folder() + "/nowhere", view, 0));
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

}  // namespace
}  // namespace reprise::api
