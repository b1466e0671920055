//! Captures for RenderDoc, taken by its own interface, which answers in release builds too. (wgpu's own
//! `start_graphics_debugger_capture` does nothing there.) RenderDoc must be in the process before it opens a device.

#[cfg(any(windows, target_os = "linux"))]
use std::ffi::c_void;
use std::path::PathBuf;

/// RenderDoc, where this process runs under it.
pub struct Capture {
    #[cfg(any(windows, target_os = "linux"))]
    renderdoc: renderdoc::RenderDoc<renderdoc::V141>,
}

impl Capture {
    /// RenderDoc, if it is in this process; it exists on Linux and Windows only.
    pub fn attach() -> Option<Capture> {
        #[cfg(any(windows, target_os = "linux"))]
        return renderdoc::RenderDoc::new().ok().map(|renderdoc| Capture { renderdoc });
        #[cfg(not(any(windows, target_os = "linux")))]
        None
    }

    /// Captures what `work` submits and waits for, and says in which file; none if RenderDoc wrote none.
    pub fn take<T>(&mut self, work: impl FnOnce() -> T) -> (T, Option<PathBuf>) {
        #[cfg(any(windows, target_os = "linux"))]
        {
            // Any device, any window: there is one of the first and none of the second.
            let (device, window) = (std::ptr::null::<c_void>(), std::ptr::null());
            let before = self.renderdoc.get_num_captures();
            self.renderdoc.start_frame_capture(device, window);
            let result = work();
            self.renderdoc.end_frame_capture(device, window);
            let taken = self.renderdoc.get_num_captures() > before;
            (result, taken.then(|| self.renderdoc.get_capture(before)).flatten().map(|(path, _)| path))
        }
        #[cfg(not(any(windows, target_os = "linux")))]
        (work(), None)
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Capture")
    }
}
