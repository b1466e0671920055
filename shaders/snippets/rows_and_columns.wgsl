// rows_and_columns — which row, or which columns, a workgroup takes.
//
// For kernels of the snippet dgain_columns that declare dx_row(row, lane). Workgroups of columns take much longer than
// those of rows. A software rasteriser gives each of its threads a range of workgroups, so columns are spread evenly.

fn run(index: u32, lane: u32) {
    let width = 4u * (WG / SLICES);
    let columns = (p.cols + width - 1u) / width;
    let apart = (p.batch + columns) / columns;
    let group = index / apart;
    if index == group * apart && group < columns {
        dgain_columns(group, lane);
    } else {
        // A folded grid may overhang.
        let row = index - min(group + 1u, columns);
        if row < p.batch { dx_row(row, lane); }
    }
}
