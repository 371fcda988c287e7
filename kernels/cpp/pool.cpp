#include "pool.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#include <sys/mman.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace worldpm {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr int spins = 2000;  // some 30 microseconds: phases follow each other faster than that
constexpr int local_buffers = 4, shared_buffers = 4;

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

int processors() {
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return static_cast<int>(std::thread::hardware_concurrency());
}

// Workers of one size of pool; replaced as a whole when the number of threads changes.
class Workers {
public:
    explicit Workers(int count) : spin_(count < processors() ? spins : 0) {
        for (int i = 1; i <= count; ++i) threads_.emplace_back([this, i] { work(i); });
    }

    ~Workers() {
        {
            std::lock_guard lock(mutex_);
            leave_ = true;
            round_.fetch_add(1);
        }
        wake_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    void run(int count, void (*call)(void*, int, int), void* task) {
        call_ = call;
        task_ = task;
        count_ = count;
        next_.store(0);
        open_.store(true);
        {
            std::lock_guard lock(mutex_);  // no worker may miss it between looking and sleeping
            round_.fetch_add(1);
        }
        wake_.notify_all();
        take_tasks(0);
        open_.store(false);
        for (int i = 0; i < spin_ && inside_.load() != 0; ++i) pause();
        if (inside_.load() == 0) return;
        std::unique_lock lock(mutex_);
        done_.wait(lock, [this] { return inside_.load() == 0; });
    }

private:
    void take_tasks(int thread) {
        for (int i = next_.fetch_add(1); i < count_; i = next_.fetch_add(1))
            call_(task_, i, thread);
    }

    void work(int thread) {
        unsigned seen = 0;
        for (;;) {
            for (int i = 0; i < spin_ && round_.load() == seen; ++i) pause();
            if (round_.load() == seen) {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [&] { return round_.load() != seen; });
            }
            seen = round_.load();
            if (leave_) return;
            // The caller waits for those inside, and who comes after it has closed finds it closed.
            inside_.fetch_add(1);
            if (open_.load()) take_tasks(thread);
            if (inside_.fetch_sub(1) == 1 && !open_.load()) {
                { std::lock_guard lock(mutex_); }
                done_.notify_all();
            }
        }
    }

    const int spin_;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::atomic<unsigned> round_{0};
    std::atomic<bool> open_{false}, leave_{false};
    std::atomic<int> next_{0}, inside_{0};
    int count_ = 0;
    void (*call_)(void*, int, int) = nullptr;
    void* task_ = nullptr;
};

}  // namespace

struct State {
    std::mutex busy;  // held by the one session there can be
    std::atomic<int> wanted{0};
    int size = 0;  // threads, the caller included
    std::unique_ptr<Workers> workers;
    Buffer shared[shared_buffers];
    std::vector<std::unique_ptr<Buffer[]>> local;
};

namespace {

std::atomic<State*> current{nullptr};  // never freed: threads may outlive static objects

State* state() {
    State* found = current.load();
    if (found != nullptr) return found;
    static std::once_flag once;
    std::call_once(once, [] {
#if defined(__unix__) || defined(__APPLE__)
        // The child has the caller's thread only and locks in any state: leave all of it behind.
        pthread_atfork(nullptr, nullptr, [] {
            State* fresh = new State;
            fresh->wanted = current.load()->wanted.load();
            current = fresh;
        });
#endif
        current = new State;
    });
    return current.load();
}

}  // namespace

Session::Session() : state_(state()) {
    state_->busy.lock();
    const int wanted = num_threads();
    if (wanted != state_->size) {
        state_->workers.reset();
        if (wanted > 1) state_->workers = std::make_unique<Workers>(wanted - 1);
        state_->size = wanted;
        while (static_cast<int>(state_->local.size()) < wanted)
            state_->local.push_back(std::make_unique<Buffer[]>(local_buffers));
    }
}

Session::~Session() { state_->busy.unlock(); }
int Session::threads() const { return state_->size; }
Buffer& Session::shared(int which) { return state_->shared[which]; }
Buffer& Session::local(int thread, int which) { return state_->local[thread][which]; }

void Session::run(int count, void (*call)(void*, int, int), void* task) {
    if (state_->workers == nullptr || count <= 1) {
        for (int i = 0; i < count; ++i) call(task, i, 0);
        return;
    }
    state_->workers->run(count, call, task);
}

void set_num_threads(int count) {
    if (count < 1) throw std::invalid_argument("the number of threads must be at least 1");
    state()->wanted = count;
}

int num_threads() {
    State* s = state();
    if (s->wanted == 0) s->wanted = processors() > 0 ? processors() : 1;
    return s->wanted;
}

Buffer::~Buffer() { std::free(data_); }

char* Buffer::reserve(std::size_t bytes, bool zeroed) {
    if (bytes <= size_) return data_;
    const std::size_t unit = bytes >= 2 * huge_page ? huge_page : 64;
    const std::size_t size = (bytes + unit - 1) / unit * unit;
    std::free(data_);
    size_ = 0;
    data_ = static_cast<char*>(std::aligned_alloc(unit, size));
    if (data_ == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (unit == huge_page) madvise(data_, size, MADV_HUGEPAGE);  // fewer page faults and misses
#endif
    if (zeroed) std::memset(data_, 0, size);
    size_ = size;
    return data_;
}

float* Buffer::reserve_floats(std::size_t count) {
    return reinterpret_cast<float*>(reserve(count * sizeof(float)));
}

}  // namespace worldpm
