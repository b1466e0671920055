// two_i32 — the sums of two rows whose terms are integers

alias Sum = i32;
alias Two = vec2<i32>;

fn both_sums(a: Two) -> vec2<i32> {
    return a;
}
