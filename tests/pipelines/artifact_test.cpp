#include "pipelines/files.hpp"
#include "steps.hpp"

#include <limits>

namespace mizzen::pipelines {
namespace {

namespace fs = std::filesystem;
using artifacts = test::pipeline_test;

TEST_F(artifacts, reads_what_it_wrote_and_names_what_it_cannot) {
  fs::create_directories(root);
  artifact file(root / "a");
  file.write(std::string_view("\0\n\xff", 3));
  EXPECT_EQ(file.read(), std::string_view("\0\n\xff", 3));
  EXPECT_THAT(test::message_of([&] { static_cast<void>(artifact(root / "none").read()); }),
              testing::HasSubstr((root / "none").string()));
  EXPECT_THAT(test::message_of([&] { static_cast<void>(artifact(root).read()); }),
              testing::HasSubstr("no such file"));
  EXPECT_THAT(test::message_of([&] { artifact(root / "no" / "folder").write("x"); }),
              testing::HasSubstr("cannot be written"));
}

TEST_F(artifacts, uri_is_absolute_and_encoded) {
  EXPECT_EQ(artifact("/tmp/a b/ü%#.txt").uri(), "file:///tmp/a%20b/%C3%BC%25%23.txt");
  EXPECT_TRUE(artifact("relative").uri().starts_with("file:///"));
}

TEST_F(artifacts, metrics_take_finite_numbers_only) {
  metrics log;
  log.log("accuracy", 0.5);
  EXPECT_EQ(log.metadata, json({{"accuracy", 0.5}}));
  EXPECT_THROW(log.log("loss", std::numeric_limits<double>::quiet_NaN()), error);
  EXPECT_EQ(log.metadata.size(), 1U);
}

TEST_F(artifacts, classification_metrics_have_the_form_that_kfp_reads) {
  classification_metrics log;
  const std::vector<std::string> categories = {"cat", "dog"};
  log.log_confusion_matrix(categories, {{9, 1}, {2, 8}});
  EXPECT_EQ(log.metadata["confusionMatrix"],
            json::parse(R"({"annotationSpecs": [{"displayName": "cat"}, {"displayName": "dog"}],
                            "rows": [{"row": [9.0, 1.0]}, {"row": [2.0, 8.0]}]})"));
  EXPECT_THROW(log.log_confusion_matrix(categories, {{9, 1}}), error);
  EXPECT_THROW(log.log_confusion_matrix(categories, {{9, 1}, {2}}), error);
  const std::vector<double> two = {0.0, 1.0};
  const std::vector<double> one = {0.5};
  log.log_roc_curve(two, two, two);
  EXPECT_EQ(log.metadata["confidenceMetrics"][1],
            json({{"falsePositiveRate", 1.0}, {"recall", 1.0}, {"confidenceThreshold", 1.0}}));
  EXPECT_THROW(log.log_roc_curve(two, one, two), error);
}

TEST_F(artifacts, digest_of_a_file_is_the_sha_256_of_its_bytes) {
  fs::create_directories(root);
  const auto digest = [&](const std::string& text) {
    artifact(root / "f").write(text);
    return detail::digest_of(root / "f", {});
  };
  // FIPS 180-4 examples.
  EXPECT_EQ(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_THROW(detail::digest_of(root / "none", {}), error);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(detail::digest_of(root / "f", {stop.get_token(), {}}), error);
}

TEST_F(artifacts, digest_of_a_folder_tells_trees_apart) {
  std::vector<std::string> digests;
  const auto tree = [&](const std::function<void(const fs::path&)>& fill) {
    const fs::path folder = root / std::to_string(digests.size());
    fs::create_directories(folder);
    fill(folder);
    digests.push_back(detail::digest_of(folder, {}));
  };
  tree([](const fs::path&) {});
  tree([](const fs::path& at) { artifact(at / "a").write("1"); });
  tree([](const fs::path& at) { artifact(at / "a").write("2"); });
  tree([](const fs::path& at) { artifact(at / "b").write("1"); });
  tree([](const fs::path& at) { fs::create_directory(at / "a"); });
  tree([](const fs::path& at) { fs::create_symlink("1", at / "a"); });
  tree([](const fs::path& at) {
    artifact(at / "a").write("1");
    artifact(at / "b").write("");
  });
  for (std::size_t i = 0; i < digests.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(digests[i], digests[j]) << i << " and " << j;
  }
  tree([](const fs::path& at) { artifact(at / "a").write("1"); });
  EXPECT_EQ(digests.back(), digests[1]);
}

TEST_F(artifacts, a_write_is_whole_and_leaves_nothing_beside_it) {
  fs::create_directories(root);
  detail::write_whole(root / "f", "one");
  detail::write_whole(root / "f", "two");
  EXPECT_EQ(test::slurp(root / "f"), "two");
  EXPECT_THROW(detail::write_whole(root / "no" / "f", "x"), error);
  EXPECT_EQ(std::distance(fs::directory_iterator(root), {}), 1);
}

TEST_F(artifacts, names_that_cannot_be_folders_are_refused) {
  for (const char* good : {"a", "train-2", "My run 1.0_b"}) detail::check_name(good, "x");
  for (const char* bad : {"", ".", "..", "a/b", "-a", " a", "a\n", "ü", "a\\b"}) {
    EXPECT_THROW(detail::check_name(bad, "x"), error) << bad;
  }
  EXPECT_THROW(detail::check_name(std::string(129, 'a'), "x"), error);
}

}  // namespace
}  // namespace mizzen::pipelines
