// A pool of threads that share tasks through a counter, and the scratch memory they work in.
//
// The caller works too, so one thread means no pool at all. Tasks are handed out one at a time: a
// core that is busy elsewhere takes fewer. After fork the child starts with a fresh pool, built
// when it is first used; nothing is started when the library is loaded.
#pragma once
#include <cstddef>
#include <memory>
#include <mutex>

namespace worldpm {

// Aligned memory that grows and never shrinks; what it held is lost when it grows.
class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer();
    // At least `bytes` bytes, aligned to 64 (from 4 MB on to huge pages); new ones are zero, unless
    // everything will be written anyway.
    char* reserve(std::size_t bytes, bool zeroed = true);
    float* reserve_floats(std::size_t count);
    char* data() const { return data_; }

private:
    char* data_ = nullptr;
    std::size_t size_ = 0;
};

// Exclusive use of the threads and of the scratch memory, for as long as it lives.
class Session {
public:
    Session();
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    int threads() const;
    // task(index, thread) for every index below `count`; returns when all are done.
    template <class Task>
    void for_each(int count, Task&& task) {
        run(count, [](void* self, int index, int thread) {
            (*static_cast<std::remove_reference_t<Task>*>(self))(index, thread);
        }, &task);
    }
    Buffer& shared(int which);             // which < 4
    Buffer& local(int thread, int which);  // which < 4

private:
    void run(int count, void (*call)(void*, int, int), void* task);
    struct State* state_;
};

// Threads used from now on, at least 1; by default as many as there are processors to run on.
void set_num_threads(int count);
int num_threads();

}  // namespace worldpm
