#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/store.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace mizzen::kubernetes {
namespace {

struct thing {
  std::string namespace_, name, version;
  std::vector<std::string> tags;
};

detail::object_identity identify(const void* object) {
  const thing& it = *static_cast<const thing*>(object);
  return {it.namespace_, it.name, {}, it.version};
}

std::shared_ptr<const thing> make(std::string namespace_, std::string name, std::string version,
                                  std::vector<std::string> tags = {}) {
  return std::make_shared<const thing>(
      thing{std::move(namespace_), std::move(name), std::move(version), std::move(tags)});
}

struct fixture {
  std::shared_ptr<detail::object_store> core = std::make_shared<detail::object_store>(identify);
  store<thing> view{core};
};

std::vector<std::string> tags_of(const void* object) {
  return static_cast<const thing*>(object)->tags;
}

std::set<std::string> names(const std::vector<std::shared_ptr<const thing>>& of) {
  std::set<std::string> result;
  for (const auto& each : of) result.insert(each->namespace_ + "/" + each->name);
  return result;
}

TEST(Store, FindsByNamespaceAndName) {
  fixture f;
  EXPECT_EQ(f.core->put(make("a", "x", "1")), nullptr);
  EXPECT_EQ(f.core->put(make("b", "x", "2")), nullptr);
  EXPECT_EQ(f.core->put(make("", "x", "3")), nullptr);
  EXPECT_EQ(f.view.get("a", "x")->version, "1");
  EXPECT_EQ(f.view.get("b", "x")->version, "2");
  EXPECT_EQ(f.view.get("", "x")->version, "3");
  EXPECT_EQ(f.view.get("a", "y"), nullptr);
  EXPECT_EQ(f.view.size(), 3U);
  EXPECT_EQ(names(f.view.list("a")), (std::set<std::string>{"a/x"}));
}

TEST(Store, AnUpdateReplacesAndReturnsTheOldObject) {
  fixture f;
  f.core->put(make("a", "x", "1"));
  const auto held = f.view.get("a", "x");
  const auto old = f.core->put(make("a", "x", "2"));
  EXPECT_EQ(static_cast<const thing*>(old.get())->version, "1");
  EXPECT_EQ(held->version, "1") << "readers keep what they have";
  EXPECT_EQ(f.view.get("a", "x")->version, "2");
  EXPECT_EQ(f.view.size(), 1U);
}

TEST(Store, IndexesFollowChanges) {
  fixture f;
  f.core->put(make("a", "x", "1", {"red", "big", "red"}));
  f.core->add_index("tag", tags_of);
  f.core->put(make("a", "y", "2", {"red"}));
  EXPECT_EQ(names(f.view.by_index("tag", "red")), (std::set<std::string>{"a/x", "a/y"}));
  f.core->put(make("a", "x", "3", {"blue"}));
  EXPECT_EQ(names(f.view.by_index("tag", "red")), (std::set<std::string>{"a/y"}));
  EXPECT_EQ(f.view.by_index("tag", "blue").front()->version, "3");
  EXPECT_TRUE(f.view.by_index("tag", "big").empty());
  f.core->remove("a", "y");
  auto values = f.view.index_values("tag");
  EXPECT_EQ(values, std::vector<std::string>{"blue"}) << "no value without an object";
  EXPECT_THROW(f.view.by_index("color", "red"), error);
  EXPECT_THROW(f.core->add_index("tag", tags_of), error);
}

TEST(Store, AnIndexFunctionThatThrowsGivesNoValues) {
  fixture f;
  f.core->add_index("bad", [](const void*) -> std::vector<std::string> { throw 1; });
  f.core->put(make("a", "x", "1"));
  f.core->put(make("a", "x", "2"));
  EXPECT_TRUE(f.view.index_values("bad").empty());
  EXPECT_NE(f.core->remove("a", "x"), nullptr);
}

TEST(Store, ReplaceReturnsWhatIsGone) {
  fixture f;
  for (const char* name : {"a", "b", "c"}) f.core->put(make("n", name, "1"));
  f.core->begin_replace();
  f.core->keep("n", "a");
  f.core->begin_replace();  // begun again: nothing is kept so far
  f.core->keep("n", "b");
  f.core->put(make("n", "d", "2"));
  auto gone = detail::typed<thing>(f.core->end_replace());
  EXPECT_EQ(names(gone), (std::set<std::string>{"n/a", "n/c"}));
  EXPECT_EQ(names(f.view.list()), (std::set<std::string>{"n/b", "n/d"}));
  EXPECT_TRUE(f.core->end_replace().empty());
}

TEST(Store, AgreesWithAModel) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    fixture f;
    f.core->add_index("tag", tags_of);
    f.core->add_index(std::string(by_namespace), [](const void* object) {
      return std::vector<std::string>{static_cast<const thing*>(object)->namespace_};
    });
    std::map<std::pair<std::string, std::string>, std::shared_ptr<const thing>> model;
    for (int i = 0; i < 300; ++i) {
      const std::string ns(1, static_cast<char>('a' + random() % 3));
      const std::string name = std::to_string(random() % 20);
      if (random() % 3 != 0) {
        std::vector<std::string> tags;
        for (std::uint64_t n = random() % 3; n > 0; --n)
          tags.push_back(std::to_string(random() % 4));
        const auto object = make(ns, name, std::to_string(i), tags);
        f.core->put(object);
        model[{ns, name}] = object;
      } else {
        const auto removed = f.core->remove(ns, name);
        const auto found = model.find({ns, name});
        ASSERT_EQ(removed != nullptr, found != model.end());
        if (found != model.end()) {
          ASSERT_EQ(removed, found->second);
          model.erase(found);
        }
      }
    }
    ASSERT_EQ(f.view.size(), model.size());
    std::map<std::string, std::set<std::string>> by_tag, by_ns;
    for (const auto& [key, object] : model) {
      ASSERT_EQ(f.view.get(key.first, key.second), object);
      by_ns[key.first].insert(key.first + "/" + key.second);
      for (const auto& tag : object->tags) by_tag[tag].insert(key.first + "/" + key.second);
    }
    for (int tag = 0; tag < 4; ++tag) {
      ASSERT_EQ(names(f.view.by_index("tag", std::to_string(tag))), by_tag[std::to_string(tag)]);
    }
    for (const char* ns : {"a", "b", "c"}) ASSERT_EQ(names(f.view.list(ns)), by_ns[ns]);
  }
}

TEST(Store, ReadersAndTheWriterDoNotDisturbEachOther) {
  fixture f;
  f.core->add_index("tag", tags_of);
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  std::atomic<int> reads = 0;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!stop || reads < 100) {
        for (const auto& each : f.view.list()) EXPECT_EQ(each->namespace_, "n");
        for (const auto& each : f.view.by_index("tag", "red")) EXPECT_FALSE(each->tags.empty());
        f.view.for_each([](const thing& each) { EXPECT_FALSE(each.name.empty()); });
        (void)f.view.get("n", "3");
        ++reads;
      }
    });
  }
  for (int i = 0; i < 5000; ++i) {
    const std::string name = std::to_string(i % 50);
    if (i % 7 == 0) {
      f.core->remove("n", name);
    } else {
      f.core->put(make("n", name, std::to_string(i),
                       i % 2 == 0 ? std::vector<std::string>{"red"} : std::vector<std::string>{}));
    }
  }
  stop = true;
  for (auto& reader : readers) reader.join();
}

}  // namespace
}  // namespace mizzen::kubernetes
